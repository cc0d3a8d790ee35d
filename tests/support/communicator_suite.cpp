#include "communicator_suite.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dinoxx/base/error.hpp"

namespace dinoxx::testing_support {
namespace {

const std::vector<int64_t> kSizes = {1, 7, 1000, 4099};

// Whole numbers below 2^5: exact in every type and in every order of summation.
at::Tensor contribution(int rank, int64_t count, at::ScalarType type, const SuiteOptions& options, int salt = 0) {
  const at::Tensor i = at::arange(count, at::kLong);
  return ((i * 7 + rank * 5 + salt * 3) % 29 + rank).to(type).to(options.device);
}

at::Tensor expected_reduction(int size, int64_t count, ReduceOp op, int salt = 0) {
  at::Tensor result = contribution(0, count, at::kDouble, {}, salt);
  for (int r = 1; r < size; ++r) {
    const at::Tensor next = contribution(r, count, at::kDouble, {}, salt);
    result = op == ReduceOp::kSum ? result + next : op == ReduceOp::kMax ? at::maximum(result, next) : at::minimum(result, next);
  }
  return result;
}

bool same(const at::Tensor& actual, const at::Tensor& expected) {
  return at::equal(actual.cpu().to(at::kDouble), expected.to(at::kDouble));
}

std::string label(Communicator& comm, at::ScalarType type, int64_t count) {
  return fmt::format("{} rank {} of {}, {} x {}", comm.name(), comm.rank(), comm.size(), count, c10::toString(type));
}

}  // namespace

void check_all_reduce(Communicator& comm, const SuiteOptions& options) {
  for (const at::ScalarType type : options.types) {
    for (const int64_t count : kSizes) {
      for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
        const at::Tensor tensor = contribution(comm.rank(), count, type, options);
        comm.all_reduce(tensor, op)->wait();
        EXPECT_TRUE(same(tensor, expected_reduction(comm.size(), count, op)))
            << label(comm, type, count) << ", operation " << static_cast<int>(op);
      }
    }
  }
}

void check_reduction_is_bit_identical(Communicator& comm, const SuiteOptions& options) {
  for (const at::ScalarType type : options.types) {
    if (!at::isFloatingType(type)) continue;
    for (const int64_t count : {int64_t{33}, int64_t{100'003}}) {
      // values whose sum depends on the order
      const at::Tensor terms = at::sin(at::arange(1, comm.size() * count + 1, at::kDouble) * 0.7).view({comm.size(), count}) * 3.3;
      const at::Tensor typed = terms.to(type);
      const at::Tensor tensor = typed[comm.rank()].clone().to(options.device);
      comm.all_reduce(tensor, ReduceOp::kSum)->wait();
      const at::Tensor expected = typed.to(at::kDouble).sum(0);
      const double epsilon = type == at::kBFloat16 ? 0x1p-8 : type == at::kFloat ? 0x1p-24 : 0x1p-53;
      // bf16 is summed in float32 and rounded once: half a unit in the last place
      const double bound = (type == at::kBFloat16 ? 1.01 : 1.0 * comm.size()) * epsilon;
      const at::Tensor magnitude = type == at::kBFloat16 ? expected.abs() + 1e-4 : typed.to(at::kDouble).abs().sum(0);
      EXPECT_LE(((tensor.cpu().to(at::kDouble) - expected).abs() / magnitude).max().item<double>(), bound) << label(comm, type, count);

      const at::Tensor bytes = tensor.view(at::kByte).contiguous();
      const at::Tensor all = at::empty({comm.size(), bytes.numel()}, bytes.options());
      comm.all_gather(all, bytes)->wait();
      for (int r = 0; r < comm.size(); ++r) EXPECT_TRUE(at::equal(all[r], bytes)) << label(comm, type, count) << " differs from rank " << r;
    }
  }
}

void check_reduce_scatter(Communicator& comm, const SuiteOptions& options) {
  for (const at::ScalarType type : options.types) {
    for (const int64_t count : kSizes) {
      const at::Tensor input = contribution(comm.rank(), count * comm.size(), type, options);
      const at::Tensor before = input.clone();
      const at::Tensor output = at::zeros({count}, input.options());
      comm.reduce_scatter(output, input)->wait();
      const at::Tensor expected =
          expected_reduction(comm.size(), count * comm.size(), ReduceOp::kSum).narrow(0, comm.rank() * count, count);
      EXPECT_TRUE(same(output, expected)) << label(comm, type, count);
      EXPECT_TRUE(at::equal(input, before)) << "input changed: " << label(comm, type, count);
    }
  }
}

void check_all_gather(Communicator& comm, const SuiteOptions& options) {
  for (const at::ScalarType type : options.types) {
    for (const int64_t count : kSizes) {
      const at::Tensor input = contribution(comm.rank(), count, type, options);
      const at::Tensor output = at::zeros({comm.size(), count}, input.options());
      comm.all_gather(output, input)->wait();
      for (int r = 0; r < comm.size(); ++r) {
        EXPECT_TRUE(same(output[r], contribution(r, count, at::kDouble, {}))) << label(comm, type, count) << ", part of rank " << r;
      }
    }
  }
}

void check_broadcast(Communicator& comm, const SuiteOptions& options) {
  for (const at::ScalarType type : options.types) {
    for (const int64_t count : kSizes) {
      for (int root = 0; root < comm.size(); ++root) {
        const at::Tensor tensor = contribution(comm.rank(), count, type, options);
        comm.broadcast(tensor, root)->wait();
        EXPECT_TRUE(same(tensor, contribution(root, count, at::kDouble, {}))) << label(comm, type, count) << ", root " << root;
      }
    }
  }
}

void check_split(Communicator& comm, const SuiteOptions& options) {
  // even and odd ranks, each in reverse order
  const int color = comm.rank() % 2;
  const std::shared_ptr<Communicator> part = comm.split(color, -comm.rank());
  std::vector<int> members;
  for (int r = comm.size() - 1; r >= 0; --r) {
    if (r % 2 == color) members.push_back(r);
  }
  ASSERT_EQ(part->size(), static_cast<int>(members.size()));
  EXPECT_EQ(members[part->rank()], comm.rank());
  const at::Tensor mine = at::full({1}, comm.rank(), at::TensorOptions(at::kLong).device(options.device));
  const at::Tensor all = at::empty({part->size()}, mine.options());
  part->all_gather(all, mine)->wait();
  for (size_t i = 0; i < members.size(); ++i) EXPECT_EQ(all[i].item<int64_t>(), members[i]);
  part->barrier();
  const std::shared_ptr<Communicator> again = part->split(0, part->rank());
  EXPECT_EQ(again->size(), part->size());
  EXPECT_EQ(again->rank(), part->rank());
}

void check_many_in_flight(Communicator& comm, const SuiteOptions& options) {
  std::vector<at::Tensor> tensors;
  std::vector<std::unique_ptr<Work>> works;
  constexpr int kOperations = 60;
  const auto count = [](int k) { return 1 + (k * 977) % 5000; };
  for (int k = 0; k < kOperations; ++k) {
    tensors.push_back(contribution(comm.rank(), count(k), at::kFloat, options, k));
    works.push_back(k % 3 == 0 ? comm.broadcast(tensors[k], k % comm.size()) : comm.all_reduce(tensors[k], ReduceOp::kSum));
  }
  for (int k = kOperations - 1; k >= kOperations / 2; --k) works[k]->wait();
  for (int k = 0; k < kOperations / 2; ++k) {
    while (!works[k]->test()) {
    }
    EXPECT_TRUE(works[k]->test());
    works[k]->wait();
  }
  for (int k = 0; k < kOperations; ++k) {
    const at::Tensor expected = k % 3 == 0 ? contribution(k % comm.size(), count(k), at::kDouble, {}, k)
                                           : expected_reduction(comm.size(), count(k), ReduceOp::kSum, k);
    EXPECT_TRUE(same(tensors[k], expected)) << comm.name() << " rank " << comm.rank() << ", operation " << k;
  }
  // a Work that is let go waits: its tensor is ready
  const at::Tensor last = contribution(comm.rank(), 5000, at::kFloat, options);
  comm.all_reduce(last, ReduceOp::kSum);
  EXPECT_TRUE(same(last, expected_reduction(comm.size(), 5000, ReduceOp::kSum)));
}

void check_separate_communicators(Communicator& one, Communicator& two, const SuiteOptions& options) {
  const at::Tensor a = contribution(one.rank(), 3000, at::kFloat, options, 1);
  const at::Tensor b = contribution(one.rank(), 3000, at::kFloat, options, 2);
  std::unique_ptr<Work> first, second;
  if (one.rank() % 2 == 0) {
    first = one.all_reduce(a, ReduceOp::kSum);
    second = two.all_reduce(b, ReduceOp::kSum);
    second->wait();
    first->wait();
  } else {
    second = two.all_reduce(b, ReduceOp::kSum);
    first = one.all_reduce(a, ReduceOp::kSum);
    second->wait();
    first->wait();
  }
  EXPECT_TRUE(same(a, expected_reduction(one.size(), 3000, ReduceOp::kSum, 1)));
  EXPECT_TRUE(same(b, expected_reduction(one.size(), 3000, ReduceOp::kSum, 2)));
}

void check_bad_arguments(Communicator& comm, const SuiteOptions& options) {
  using testing::AllOf;
  using testing::HasSubstr;
  using testing::ThrowsMessage;
  const at::TensorOptions floats = at::TensorOptions(at::kFloat).device(options.device);
  const at::Tensor good = at::zeros({4}, floats);
  const std::string who = fmt::format("on rank {} of {} ({})", comm.rank(), comm.size(), comm.name());
  EXPECT_THAT(
      [&] {
        comm.all_reduce(at::zeros({4, 4}, floats).t(), ReduceOp::kSum);
      },
      ThrowsMessage<Error>(AllOf(HasSubstr("all_reduce " + who), HasSubstr("contiguous"))));
  EXPECT_THAT([&] { comm.all_reduce(at::Tensor(), ReduceOp::kSum); }, ThrowsMessage<Error>(HasSubstr("an undefined one")));
  EXPECT_THAT([&] { comm.broadcast(good, comm.size()); },
              ThrowsMessage<Error>(AllOf(HasSubstr("broadcast " + who), HasSubstr("a root in [0, "))));
  EXPECT_THAT([&] { comm.all_gather(at::zeros({4 * comm.size() + 1}, floats), good); },
              ThrowsMessage<Error>(HasSubstr("all_gather " + who)));
  EXPECT_THAT([&] { comm.reduce_scatter(good, at::zeros({4 * comm.size() + 1}, floats)); },
              ThrowsMessage<Error>(HasSubstr("reduce_scatter " + who)));
  EXPECT_THAT([&] { comm.all_gather(at::zeros({4 * comm.size()}, floats.dtype(at::kDouble)), good); },
              ThrowsMessage<Error>(HasSubstr("one type")));
}

void check_communicator(Communicator& one, Communicator& two, const SuiteOptions& options) {
  check_all_reduce(one, options);
  check_reduction_is_bit_identical(one, options);
  check_reduce_scatter(one, options);
  check_all_gather(one, options);
  check_broadcast(one, options);
  check_split(one, options);
  check_many_in_flight(one, options);
  check_separate_communicators(one, two, options);
  check_bad_arguments(one, options);
  // nothing above left a message behind
  check_all_reduce(two, options);
}

}  // namespace dinoxx::testing_support
