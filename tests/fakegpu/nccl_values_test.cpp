// The NCCL communicator over the stand-in for NCCL, which computes over host memory: values, order of calls, splits, groups, faults. Inputs
// come to the device by copies and go back by copies, because no kernel runs there; sums of bf16, which pass through a kernel, are left to
// the tests with a GPU.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>
#include <nccl.h>

#include "comm/agree.hpp"
#include "comm/nccl_communicator.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/mpi_communicator.hpp"

namespace dinoxx {
namespace {

using testing::HasSubstr;

const at::Device kDevice(at::kCUDA, 0);
// the last is more than the stand-in moves at once
const std::vector<int64_t> kSizes = {1, 7, 1000, 100'003};

// Whole numbers: exact in every type and in every order.
at::Tensor contribution(int rank, int64_t count, at::ScalarType type = at::kFloat, int salt = 0) {
  return ((at::arange(count, at::kLong) * 7 + rank * 5 + salt * 3) % 29 + rank).to(type);
}

at::Tensor reduced(int size, int64_t count, ReduceOp op, int salt = 0) {
  at::Tensor result = contribution(0, count, at::kDouble, salt);
  for (int r = 1; r < size; ++r) {
    const at::Tensor next = contribution(r, count, at::kDouble, salt);
    result = op == ReduceOp::kSum ? result + next : op == ReduceOp::kMax ? at::maximum(result, next) : at::minimum(result, next);
  }
  return result;
}

bool same(const at::Tensor& on_device, const at::Tensor& expected) {
  return at::equal(on_device.cpu().to(at::kDouble), expected.to(at::kDouble));
}

class FakeNccl : public testing::Test {
 protected:
  const std::shared_ptr<Communicator> control = make_mpi_communicator();
  const int rank = control->rank(), size = control->size();
  std::shared_ptr<Communicator> make() const { return make_nccl_communicator(control, 0); }
};

TEST_F(FakeNccl, EveryOperationHasItsValues) {
  const auto nccl = make();
  EXPECT_EQ(nccl->rank(), rank);
  EXPECT_EQ(nccl->size(), size);
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kInt, at::kLong, at::kByte, at::kBFloat16}) {
    for (const int64_t count : kSizes) {
      SCOPED_TRACE(fmt::format("{} x {}", count, c10::toString(type)));
      const at::Tensor mine = contribution(rank, count, type).to(kDevice);
      const at::Tensor all = at::empty({size, count}, mine.options());
      nccl->all_gather(all, mine)->wait();
      for (int r = 0; r < size; ++r) EXPECT_TRUE(same(all[r], contribution(r, count, type)));
      for (int root = 0; root < size; ++root) {
        const at::Tensor sent = contribution(rank, count, type).to(kDevice);
        nccl->broadcast(sent, root)->wait();
        EXPECT_TRUE(same(sent, contribution(root, count, type)));
      }
      if (type == at::kBFloat16) {  // as it travels, without a copy in float32, which would need a kernel
        const at::Tensor tensor = contribution(rank, count, type).to(kDevice);
        nccl->all_reduce(tensor, ReduceOp::kSumOnWire)->wait();
        EXPECT_TRUE(same(tensor, reduced(size, count, ReduceOp::kSum)));
        continue;
      }
      for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
        const at::Tensor tensor = contribution(rank, count, type).to(kDevice);
        nccl->all_reduce(tensor, op)->wait();
        EXPECT_TRUE(same(tensor, reduced(size, count, op)));
      }
      const at::Tensor part = at::empty({count}, mine.options());
      nccl->reduce_scatter(part, contribution(rank, count * size, type).to(kDevice))->wait();
      EXPECT_TRUE(same(part, reduced(size, count * size, ReduceOp::kSum).narrow(0, rank * count, count)));
    }
  }
  nccl->barrier();
}

// All ranks hold the same bits of a sum whose value depends on the order.
TEST_F(FakeNccl, SumsAreTheSameBitsOnAllRanks) {
  const auto nccl = make();
  const at::Tensor tensor = (at::sin(at::arange(100'003, at::kDouble) * 0.7 + rank) * 3.3).to(at::kFloat).to(kDevice);
  nccl->all_reduce(tensor, ReduceOp::kSum)->wait();
  check_ranks_agree(*control, tensor.cpu(), "sum", 0);
}

// As gradients and statistics do: two communicators, posted in another order on every rank, waited for from the last to the first.
TEST_F(FakeNccl, CommunicatorsDoNotWaitForEachOther) {
  const auto gradients = make(), statistics = make();
  constexpr int kOperations = 40;
  std::vector<at::Tensor> large, small;
  std::vector<std::unique_ptr<Work>> works;
  const auto post = [&](bool of_gradients, int k) {
    auto& tensors = of_gradients ? large : small;
    tensors.push_back(contribution(rank, of_gradients ? 5000 + k : 3, at::kFloat, k).to(kDevice));
    works.push_back((of_gradients ? gradients : statistics)->all_reduce(tensors.back(), ReduceOp::kSum));
  };
  for (int k = 0; k < kOperations; ++k) {
    post(rank % 2 == 0, k);
    post(rank % 2 != 0, k);
  }
  for (auto work = works.rbegin(); work != works.rend(); ++work) (*work)->wait();
  for (int k = 0; k < kOperations; ++k) {
    EXPECT_TRUE(same(large[k], reduced(size, 5000 + k, ReduceOp::kSum, k))) << k;
    EXPECT_TRUE(same(small[k], reduced(size, 3, ReduceOp::kSum, k))) << k;
  }
}

// Memory given back while the communication stream still reads it must not be handed out again.
TEST_F(FakeNccl, FreedInputsAreKeptUntilTheyHaveBeenSent) {
  const auto nccl = make();
  constexpr int64_t kCount = 1 << 16;
  const at::Tensor other = at::full({kCount}, -1, at::kFloat);
  for (int round = 0; round < 20; ++round) {
    const at::Tensor output = at::empty({size * kCount}, at::TensorOptions(at::kFloat).device(kDevice));
    std::unique_ptr<Work> work;
    {
      const at::Tensor input = at::full({kCount}, round + rank, at::kFloat).to(kDevice);
      work = nccl->all_gather(output, input);
    }
    const at::Tensor reused = other.to(kDevice);
    work->wait();
    const at::Tensor found = output.cpu();
    for (int r = 0; r < size; ++r) EXPECT_TRUE((found.narrow(0, r * kCount, kCount) == round + r).all().item<bool>()) << round;
  }
}

TEST_F(FakeNccl, PartsHaveRanksOfTheirOwn) {
  const auto nccl = make();
  const int color = rank % 2;
  const auto part = nccl->split(color, -rank);  // even and odd ranks, each in reverse order
  std::vector<int64_t> members;
  for (int r = size - 1; r >= 0; --r)
    if (r % 2 == color) members.push_back(r);
  ASSERT_EQ(part->size(), static_cast<int>(members.size()));
  EXPECT_EQ(members[static_cast<size_t>(part->rank())], rank);
  const at::Tensor mine = at::full({1}, rank, at::kLong).to(kDevice), all = at::empty({part->size()}, mine.options());
  part->all_gather(all, mine)->wait();
  EXPECT_TRUE(same(all, at::tensor(members, at::kLong)));
  // the whole still works, and a part of the part
  const at::Tensor sum = contribution(rank, 9).to(kDevice);
  nccl->all_reduce(sum, ReduceOp::kSum)->wait();
  EXPECT_TRUE(same(sum, reduced(size, 9, ReduceOp::kSum)));
  EXPECT_EQ(part->split(0, part->rank())->size(), part->size());
}

void expect_failure(Communicator& nccl, const at::Tensor& tensor) {
  // The fault is seen in the course of time, not in the call; who waits on the host has to ask.
  const std::unique_ptr<Work> work = nccl.all_reduce(tensor, ReduceOp::kSum);
  EXPECT_THAT(
      [&] {
        while (!work->test()) std::this_thread::yield();
      },
      testing::ThrowsMessage<Error>(HasSubstr("Another rank or the network has failed")));
  EXPECT_THROW(work->wait(), Error) << "and once more: the failed communicator is not gone";
}

TEST_F(FakeNccl, DifferentCallsAreFound) {
  if (size == 1) return;
  const auto nccl = make();
  expect_failure(*nccl, contribution(rank, 10 + rank).to(kDevice));
  control->barrier();
}

// NCCL's own interface, which the communicator does not use yet.
TEST_F(FakeNccl, GroupsRunInTheOrderOfTheirCalls) {
  ncclUniqueId id;
  ncclGetUniqueId(&id);
  MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
  ncclComm_t comm = nullptr;
  ASSERT_EQ(ncclCommInitRank(&comm, size, id, rank), ncclSuccess);
  const at::Tensor one = contribution(rank, 1000).to(kDevice), two = contribution(rank, 50, at::kDouble, 1).to(kDevice);
  ncclGroupStart();
  EXPECT_EQ(ncclAllReduce(one.data_ptr(), one.data_ptr(), 1000, ncclFloat32, ncclSum, comm, nullptr), ncclSuccess);
  EXPECT_EQ(ncclAllReduce(two.data_ptr(), two.data_ptr(), 50, ncclFloat64, ncclMax, comm, nullptr), ncclSuccess);
  EXPECT_TRUE(same(one, contribution(rank, 1000))) << "nothing begins before the group ends";
  ncclGroupEnd();
  EXPECT_TRUE(same(one, reduced(size, 1000, ReduceOp::kSum)));
  EXPECT_TRUE(same(two, reduced(size, 50, ReduceOp::kMax, 1)));
  ncclCommFinalize(comm);
  ncclCommDestroy(comm);
}

TEST_F(FakeNccl, WhatIsAbortedEndsForAll) {
  if (size == 1) return;
  ncclUniqueId id;
  ncclGetUniqueId(&id);
  MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
  ncclComm_t comm = nullptr;
  ASSERT_EQ(ncclCommInitRank(&comm, size, id, rank), ncclSuccess);
  if (rank != 0) {  // waits for a rank that does not come
    const at::Tensor one = contribution(rank, 10).to(kDevice);
    EXPECT_EQ(ncclAllReduce(one.data_ptr(), one.data_ptr(), 10, ncclFloat32, ncclSum, comm, nullptr), ncclSuccess);
    ncclResult_t state = ncclSuccess;
    while (state == ncclSuccess) ncclCommGetAsyncError(comm, &state);
    EXPECT_EQ(state, ncclRemoteError);
  }
  ncclCommAbort(comm);
}

// Run alone, with FAKEGPU_NCCL_FAIL=1:3 in the environment.
class FakeNcclFault : public FakeNccl {};

TEST_F(FakeNcclFault, IsAnErrorOnEveryRank) {
  const auto nccl = make();
  for (int call = 0; call < 2; ++call) {
    const at::Tensor sum = contribution(rank, 100).to(kDevice);
    nccl->all_reduce(sum, ReduceOp::kSum)->wait();
    EXPECT_TRUE(same(sum, reduced(size, 100, ReduceOp::kSum)));
  }
  expect_failure(*nccl, contribution(rank, 100).to(kDevice));
  control->barrier();
}

}  // namespace
}  // namespace dinoxx
