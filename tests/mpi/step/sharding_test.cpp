#include <gtest/gtest.h>

#include "dinoxx/comm/mpi_communicator.hpp"
#include "sharding_suite.hpp"

namespace dinoxx {
namespace {

using namespace testing_support;

const NewCommunicator kMpi = [] { return make_mpi_communicator(); };

TEST(MpiSharding, EveryPolicyEqualsDdp) {
  check_every_policy_equals_ddp(kMpi);
}
TEST(MpiSharding, NodesThatShareEqualDdp) {
  check_sharing_within_nodes(kMpi, kMpi()->size() == 3 ? 3 : 2);
}
TEST(MpiSharding, Float32AndBfloat16) {
  check_other_types(kMpi);
}
TEST(MpiSharding, TrafficAndBuffersAreThoseOfThePolicy) {
  check_traffic_and_buffers(kMpi);
}
TEST(MpiSharding, SkippedStepsChangeNothing) {
  check_skipped_steps(kMpi);
}
TEST(MpiSharding, CheckpointsLoadUnderEveryPolicy) {
  check_checkpoints(kMpi);
}

}  // namespace
}  // namespace dinoxx
