// Batch statistics over MPI ranks; with threads as ranks: tests/unit/model/batch_norm_test.cpp.
#include "batch_norm_suite.hpp"
#include "dinoxx/comm/mpi_communicator.hpp"

namespace dinoxx::golden {
namespace {

TEST(MpiBatchNorm, RanksAreOneRankWithTheWholeBatch) {
  check_batch_norm_over_ranks(make_mpi_communicator(), at::kCPU);
}

}  // namespace
}  // namespace dinoxx::golden
