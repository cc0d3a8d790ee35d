#include "sharding_suite.hpp"

#include <gtest/gtest.h>

#include "thread_ranks.hpp"

namespace dinoxx {
namespace {

using namespace testing_support;

// Of 1 to 4 ranks that are threads. A gtest expectation that fails on one of them fails the test.
void on_ranks(const std::function<void(const NewCommunicator&)>& check, const std::vector<int>& sizes = {1, 2, 3, 4}) {
  for (const int size : sizes) {
    SCOPED_TRACE(size);
    run_thread_ranks(size, [&](const std::shared_ptr<Communicator>& comm) { check([&] { return comm->split(0, comm->rank()); }); });
  }
}

TEST(ThreadSharding, EveryPolicyEqualsDdp) {
  for (const ShardingCase& one : sharding_cases())
    on_ranks([&](const NewCommunicator& comm) { check_every_policy_equals_ddp(comm, one); }, {3});  // mpi_sharding: 1 to 4
}
TEST(ThreadSharding, ANetworkWithBatchNormsEqualsDdp) {
  on_ranks(check_network_with_batch_norms, {2});
}
TEST(ThreadSharding, Float32AndBfloat16) {
  on_ranks(check_other_types);
}
TEST(ThreadSharding, TrafficAndBuffersAreThoseOfThePolicy) {
  on_ranks(check_traffic_and_buffers);
}
TEST(ThreadSharding, SkippedStepsChangeNothing) {
  on_ranks(check_skipped_steps);
}
TEST(ThreadSharding, CheckpointsLoadUnderEveryPolicy) {
  on_ranks(check_checkpoints);
}
TEST(ThreadSharding, NodesThatShareEqualDdp) {
  for (const ShardingCase& one : sharding_cases())
    on_ranks([&](const NewCommunicator& comm) { check_sharing_within_nodes(comm, 2, one); }, {4});
  // alone on its node each rank has all
  on_ranks([&](const NewCommunicator& comm) { check_sharing_within_nodes(comm, 1, sharding_cases().front()); }, {2});
}
TEST(ThreadSharding, PrototypesByColumnsEqualDdp) {
  for (const ShardingCase& one : cases_with_prototypes())
    on_ranks([&](const NewCommunicator& comm) { check_prototypes_by_columns(comm, 0, one); }, {3});  // mpi_sharding: 2 and 4
}
TEST(ThreadSharding, PrototypesByColumnsWithinNodesEqualDdp) {
  for (const ShardingCase& one : cases_with_prototypes())
    on_ranks([&](const NewCommunicator& comm) { check_prototypes_by_columns(comm, 2, one); }, {4});
}

}  // namespace
}  // namespace dinoxx
