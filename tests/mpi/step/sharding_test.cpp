#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "dinoxx/comm/mpi_communicator.hpp"
#include "sharding_suite.hpp"

namespace dinoxx {
namespace {

using namespace testing_support;

const NewCommunicator kMpi = [] { return make_mpi_communicator(); };

// A test for each case: the watch over hanging ranks begins anew with each.
std::string name_of(const testing::TestParamInfo<ShardingCase>& info) {
  std::string name = info.param.name;
  std::erase_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; });
  return name;
}

// The cases on so many ranks; on others none.
std::vector<ShardingCase> on(std::initializer_list<std::string> ranks, std::vector<ShardingCase> cases) {
  const char* const here = std::getenv("DINOXX_TEST_RANKS");
  if (here == nullptr || std::find(ranks.begin(), ranks.end(), here) == ranks.end()) cases.clear();
  return cases;
}

class MpiShardingCase : public testing::TestWithParam<ShardingCase> {};
TEST_P(MpiShardingCase, EveryPolicyEqualsDdp) {
  check_every_policy_equals_ddp(kMpi, GetParam());
}
INSTANTIATE_TEST_SUITE_P(All, MpiShardingCase, testing::ValuesIn(sharding_cases()), name_of);

// Two nodes of two: of fewer ranks a node is all or one.
class MpiNodesCase : public testing::TestWithParam<ShardingCase> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(MpiNodesCase);
TEST_P(MpiNodesCase, ThatShareEqualDdp) {
  check_sharing_within_nodes(kMpi, 2, GetParam());
}
INSTANTIATE_TEST_SUITE_P(All, MpiNodesCase, testing::ValuesIn(on({"4"}, sharding_cases())), name_of);

class MpiPrototypesCase : public testing::TestWithParam<ShardingCase> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(MpiPrototypesCase);
TEST_P(MpiPrototypesCase, ByColumnsEqualDdp) {
  check_prototypes_by_columns(kMpi, 0, GetParam());
}
INSTANTIATE_TEST_SUITE_P(All, MpiPrototypesCase, testing::ValuesIn(on({"2", "4"}, cases_with_prototypes())), name_of);

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
