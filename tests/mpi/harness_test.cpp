// The harness itself: that the ranks exist, talk to each other, and are the number that was asked for.
#include <gtest/gtest.h>
#include <mpi.h>

#include <cstdlib>
#include <string>

namespace {

TEST(MpiHarness, RanksAreTheNumberAskedFor) {
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  EXPECT_EQ(size, std::stoi(std::getenv("DINOXX_TEST_RANKS")));
}

TEST(MpiHarness, EveryRankTakesPartInASum) {
  int rank = 0, size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  int bits = 1 << rank;
  MPI_Allreduce(MPI_IN_PLACE, &bits, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  EXPECT_EQ(bits, (1 << size) - 1);
}

// Run by the failure tests of harness.cmake alone: a failure on the last rank must fail the program, and a rank that stays away must not hang for ever.
TEST(MpiHarness, LastRankFailsWhenTold) {
  int rank = 0, size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const bool told = std::getenv("DINOXX_HARNESS_FAIL") != nullptr;
  EXPECT_FALSE(told && rank == size - 1) << "failed as told";
}

TEST(MpiHarness, LastRankStaysAwayWhenTold) {
  int rank = 0, size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const bool away = std::getenv("DINOXX_HARNESS_HANG") != nullptr && rank == size - 1;
  if (!away) {
    EXPECT_EQ(MPI_Barrier(MPI_COMM_WORLD), MPI_SUCCESS);
  }
}

}  // namespace
