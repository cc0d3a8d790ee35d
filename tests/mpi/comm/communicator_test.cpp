#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "communicator_suite.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/mpi_communicator.hpp"

namespace dinoxx {
namespace {

using namespace testing_support;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(MpiCommunicator, CountsRanksAsMpiDoes) {
  const auto comm = make_mpi_communicator();
  int rank = -1, size = -1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  EXPECT_EQ(comm->rank(), rank);
  EXPECT_EQ(comm->size(), size);
  EXPECT_EQ(comm->name(), "mpi");
}

TEST(MpiCommunicator, PassesTheSuite) {
  const auto one = make_mpi_communicator(), two = make_mpi_communicator();
  check_communicator(*one, *two);
}

// Counts above 2^31 travel in pieces; small pieces take the same path.
TEST(MpiCommunicator, PassesTheSuiteInPieces) {
  const auto one = make_mpi_communicator(10'000), two = make_mpi_communicator(3000);
  check_communicator(*one, *two);
  const auto tiny = make_mpi_communicator(200);
  check_reduce_scatter(*tiny, {});
  check_all_gather(*tiny, {});
}

TEST(MpiCommunicator, NobodyLeavesABarrierBeforeAllHaveCome) {
  const auto comm = make_mpi_communicator();
  MPI_Win window;
  int* mine = nullptr;
  MPI_Win_allocate_shared(comm->rank() == 0 ? sizeof(int) : 0, sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &mine, &window);
  MPI_Aint bytes = 0;
  int unit = 0, *shared = nullptr;
  MPI_Win_shared_query(window, 0, &bytes, &unit, &shared);
  std::atomic_ref<int> entered(*shared);
  if (comm->rank() == 0) entered = 0;
  MPI_Barrier(MPI_COMM_WORLD);
  std::this_thread::sleep_for(std::chrono::milliseconds(10 * comm->rank()));
  ++entered;
  comm->barrier();
  EXPECT_EQ(entered.load(), comm->size());
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Win_free(&window);
}

TEST(MpiCommunicator, RefusesWhatMpiCannotCarry) {
  const auto comm = make_mpi_communicator();
  EXPECT_THAT([&] { comm->all_reduce(at::zeros({2}, at::kHalf), ReduceOp::kSum); },
              ThrowsMessage<Error>(AllOf(HasSubstr("all_reduce on rank"), HasSubstr("float32"), HasSubstr("Half"))));
  comm->barrier();
}

TEST(MpiCommunicator, RefusesAnotherThread) {
  const auto comm = make_mpi_communicator();
  std::thread([&] {
    EXPECT_THAT([&] { comm->all_reduce(at::zeros({2}), ReduceOp::kSum); },
                ThrowsMessage<Error>(HasSubstr("the thread that initialised MPI")));
    EXPECT_THAT([&] { comm->barrier(); }, ThrowsMessage<Error>(HasSubstr("the thread that initialised MPI")));
  }).join();
  const auto work = comm->all_reduce(at::zeros({100'000}), ReduceOp::kSum);
  std::thread([&] { EXPECT_THAT([&] { work->test(); }, ThrowsMessage<Error>(HasSubstr("the thread that initialised MPI"))); }).join();
  work->wait();
}

TEST(MpiCommunicator, AnErrorOnItsWayUpDoesNotWaitForRanksThatNeverCome) {
  const auto comm = make_mpi_communicator();
  const at::Tensor tensor = at::full({1000}, comm->rank());
  if (comm->rank() == 0) {
    EXPECT_THROW(
        {
          const auto work = comm->all_reduce(tensor, ReduceOp::kSum);
          fail("step", "a finite loss", "nan", "");
        },
        Error);
  } else {
    // rank 0 has left its Work; what it posted still counts, so that this one can end
    comm->all_reduce(tensor, ReduceOp::kSum)->wait();
  }
  const at::Tensor after = at::ones({10});
  comm->all_reduce(after, ReduceOp::kSum)->wait();
  EXPECT_EQ(after[0].item<float>(), comm->size());
}

}  // namespace
}  // namespace dinoxx
