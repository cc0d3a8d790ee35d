// One rank per GPU under mpirun: every operation against its serial computation, and against MPI.
#include "comm/nccl_communicator.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include "batch_norm_suite.hpp"
#include "comm/agree.hpp"
#include "communicator_suite.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/mpi_communicator.hpp"
#include "parallel/gradient_sync.hpp"
#include "toy_network.hpp"

namespace dinoxx {
namespace {

using namespace testing_support;
using testing::HasSubstr;
using testing::ThrowsMessage;

int local_rank() {
  MPI_Comm node;
  int rank = 0;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  MPI_Comm_rank(node, &rank);
  MPI_Comm_free(&node);
  return rank;
}

class Nccl : public testing::Test {
 protected:
  const int gpu = local_rank();
  const std::shared_ptr<Communicator> control = make_mpi_communicator();
  const SuiteOptions options{at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(gpu))};
};

TEST_F(Nccl, PassesTheSuite) {
  const auto one = make_nccl_communicator(control, gpu), two = make_nccl_communicator(control, gpu);
  EXPECT_EQ(one->name(), "nccl");
  EXPECT_EQ(one->rank(), control->rank());
  EXPECT_EQ(one->size(), control->size());
  check_communicator(*one, *two, options);
  one->barrier();
}

TEST_F(Nccl, AgreesWithMpiOperationByOperation) {
  const auto nccl = make_nccl_communicator(control, gpu);
  const int n = control->size();
  for (const at::ScalarType type : options.types) {
    const at::Tensor host = ((at::arange(n * 1000, at::kLong) * 13 + control->rank() * 7) % 31).to(type);
    for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
      const at::Tensor a = host.clone(), b = host.to(options.device);
      control->all_reduce(a, op)->wait();
      nccl->all_reduce(b, op)->wait();
      EXPECT_TRUE(at::equal(a, b.cpu())) << c10::toString(type);
    }
    const at::Tensor part_a = at::empty({1000}, host.options()), part_b = part_a.to(options.device);
    control->reduce_scatter(part_a, host)->wait();
    nccl->reduce_scatter(part_b, host.to(options.device))->wait();
    EXPECT_TRUE(at::equal(part_a, part_b.cpu())) << c10::toString(type);
    const at::Tensor all_a = at::empty({n, n * 1000}, host.options()), all_b = all_a.to(options.device);
    control->all_gather(all_a, host)->wait();
    nccl->all_gather(all_b, host.to(options.device))->wait();
    EXPECT_TRUE(at::equal(all_a, all_b.cpu())) << c10::toString(type);
    const at::Tensor sent_a = host.clone(), sent_b = host.to(options.device);
    control->broadcast(sent_a, n - 1)->wait();
    nccl->broadcast(sent_b, n - 1)->wait();
    EXPECT_TRUE(at::equal(sent_a, sent_b.cpu())) << c10::toString(type);
  }
}

TEST_F(Nccl, RefusesHostTensorsAndGpusThatAreNotThere) {
  const auto nccl = make_nccl_communicator(control, gpu);
  EXPECT_THAT([&] { nccl->all_reduce(at::zeros({3}), ReduceOp::kSum); }, ThrowsMessage<Error>(HasSubstr("a tensor on cuda:")));
  EXPECT_THAT([&] { make_nccl_communicator(control, 1000); }, ThrowsMessage<Error>(HasSubstr("GPU 1000")));
  if (control->size() > 1) {
    EXPECT_THAT([&] { make_nccl_communicator(control, 0); }, ThrowsMessage<Error>(HasSubstr("a GPU of its own")));
  }
}

// Memory given back while the communication stream still reads it must not be handed out again.
TEST_F(Nccl, FreedInputsAreKeptUntilTheyHaveBeenSent) {
  const auto nccl = make_nccl_communicator(control, gpu);
  constexpr int64_t kCount = 1 << 22;
  const at::TensorOptions floats = at::TensorOptions(at::kFloat).device(options.device);
  for (int round = 0; round < 20; ++round) {
    const at::Tensor output = at::empty({control->size() * kCount}, floats);
    std::unique_ptr<Work> work;
    {
      const at::Tensor input = at::full({kCount}, round + control->rank(), floats);
      work = nccl->all_gather(output, input);
    }
    work->wait();
    const at::Tensor other = at::full({kCount}, -1, floats);
    for (int r = 0; r < control->size(); ++r) {
      EXPECT_TRUE((output.narrow(0, r * kCount, kCount) == round + r).all().item<bool>());
    }
  }
}

TEST_F(Nccl, AveragedGradientIsTheSerialOne) {
  const auto nccl = make_nccl_communicator(control, gpu);
  constexpr int64_t kWidth = 8, kBatch = 3;
  const auto on_gpu = [&](ToyNetwork& network) {
    for (NamedTensor& p : network.parameters) p.tensor = p.tensor.to(options.device);
  };
  ToyNetwork serial(6, kWidth), network(6, kWidth);
  on_gpu(serial);
  on_gpu(network);
  for (NamedTensor& p : serial.parameters) p.tensor.set_requires_grad(true);
  serial.loss(toy_batch(0, control->size() * kBatch, kWidth).to(options.device)).backward();
  const ParamLayout layout = ParamLayout::build(network.parameters, 4);
  FlatState state(layout, network.parameters, true, at::kDouble);
  GradientSync sync(nccl, layout, network.parameters, state, GradientPath{.gathered = true});
  for (int step = 0; step < 3; ++step) {
    state.zero_grad();
    sync.begin();
    network.loss(toy_batch(control->rank() * kBatch, kBatch, kWidth).to(options.device)).backward();
    sync.finish();
    for (size_t i = 0; i < network.parameters.size(); ++i) {
      const Segment& segment = layout.segments[network.parameters.size() - 1 - i];  // in reverse order of execution
      ASSERT_EQ(segment.name, network.parameters[i].name);
      const at::Tensor gradient = state.grad.narrow(0, segment.offset, segment.numel).view(segment.shape);
      EXPECT_LE((gradient - serial.parameters[i].tensor.grad()).abs().max().item<double>(), 1e-12) << network.parameters[i].name;
    }
    check_ranks_agree(*control, state.grad, "gradient", step);
    int posted = 0;
    for (const BucketEvent& event : sync.events()) {
      if (event.kind == BucketEvent::Kind::kBackwardEnded) break;
      if (event.kind == BucketEvent::Kind::kCompleted) continue;
      EXPECT_EQ(event.bucket, posted++);
    }
    EXPECT_EQ(posted, static_cast<int>(layout.buckets.size()));
  }
}

// Forward and backward both call NCCL, backward from autograd's thread of the device.
TEST_F(Nccl, BatchStatisticsOfAllRanksAreThoseOfTheWholeBatch) {
  golden::check_batch_norm_over_ranks(make_nccl_communicator(control, gpu), options.device);
}

}  // namespace
}  // namespace dinoxx
