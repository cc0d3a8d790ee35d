// The losses over MPI ranks against the whole batch; with threads as ranks: tests/golden/loss/losses_test.cpp.
#include "dinoxx/comm/mpi_communicator.hpp"
#include "loss_suite.hpp"

namespace dinoxx::golden {
namespace {

TEST(MpiLosses, RanksAreOneRankWithTheWholeBatch) {
  const auto comm = make_mpi_communicator();
  check_losses_over_ranks(*comm, at::kDouble, 1e-9);
  check_losses_over_ranks(*comm, at::kFloat, 1e-5);
}

}  // namespace
}  // namespace dinoxx::golden
