#include <gtest/gtest.h>

#include "dinoxx/comm/self_communicator.hpp"
#include "gradient_suite.hpp"
#include "thread_ranks.hpp"

namespace dinoxx {
namespace {

using namespace testing_support;

/// 0: the self communicator; n: n ranks as threads.
class GradientSyncRanks : public testing::TestWithParam<int> {
 protected:
  void on_all_ranks(const std::function<void(std::shared_ptr<Communicator>)>& check) {
    if (GetParam() == 0) {
      check(make_self_communicator());
    } else {
      run_thread_ranks(GetParam(), check);
    }
  }
};
INSTANTIATE_TEST_SUITE_P(, GradientSyncRanks, testing::Values(0, 1, 2, 3, 4), testing::PrintToStringParamName());

TEST_P(GradientSyncRanks, AverageIsTheSerialGradient) {
  on_all_ranks(check_average_is_serial_gradient);
}
TEST_P(GradientSyncRanks, Bf16NetworkHasFloatGradients) {
  on_all_ranks(check_bf16_network);
}
TEST_P(GradientSyncRanks, BucketsArePostedFromHooksInOrder) {
  on_all_ranks(check_event_log);
}
TEST_P(GradientSyncRanks, CollectivesFinishDuringBackward) {
  on_all_ranks(check_overlap);
}
TEST_P(GradientSyncRanks, HooksDriveProgress) {
  on_all_ranks(check_hooks_drive_progress);
}
TEST_P(GradientSyncRanks, MissingGradientIsNamed) {
  on_all_ranks(check_missing_gradient_is_named);
}
TEST_P(GradientSyncRanks, DivergenceIsFound) {
  on_all_ranks(check_divergence_is_found);
}

}  // namespace
}  // namespace dinoxx
