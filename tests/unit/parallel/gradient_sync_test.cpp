#include <gtest/gtest.h>

#include "dinoxx/comm/self_communicator.hpp"
#include "gradient_suite.hpp"
#include "thread_ranks.hpp"

namespace dinoxx {
namespace {

using namespace testing_support;

// As on a GPU: by themselves, and with messages of two of the smallest buckets.
constexpr GradientPath kGathered{.gathered = true}, kInPairs{.gathered = true, .message_bytes = 200'000};

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
  void on_both_paths(void (*check)(const std::shared_ptr<Communicator>&, GradientPath), const GradientPath& gathered = kGathered) {
    for (const GradientPath& path : {GradientPath{}, gathered}) {
      SCOPED_TRACE(path.gathered ? "gathered" : "views");
      on_all_ranks([&](const std::shared_ptr<Communicator>& comm) { check(comm, path); });
    }
  }
};
INSTANTIATE_TEST_SUITE_P(, GradientSyncRanks, testing::Values(0, 1, 2, 3, 4), testing::PrintToStringParamName());

TEST_P(GradientSyncRanks, AverageIsTheSerialGradient) {
  on_both_paths(check_average_is_serial_gradient);
}
TEST_P(GradientSyncRanks, GatheredGradientsAreThoseOfTheViews) {
  on_all_ranks(check_gathered_is_added);
}
TEST_P(GradientSyncRanks, Bf16NetworkHasFloatGradients) {
  on_both_paths(check_bf16_network);
}
TEST_P(GradientSyncRanks, Bf16MessagesAreRoundedOnTheirWay) {
  on_both_paths(check_bf16_messages);
}
TEST_P(GradientSyncRanks, BucketsArePostedFromHooksInOrder) {
  on_both_paths(check_event_log, kInPairs);
}
TEST_P(GradientSyncRanks, CollectivesFinishDuringBackward) {
  on_both_paths(check_overlap);
}
TEST_P(GradientSyncRanks, HooksDriveProgress) {
  on_both_paths(check_hooks_drive_progress);
}
TEST_P(GradientSyncRanks, MissingGradientIsNamed) {
  on_both_paths(check_missing_gradient_is_named);
}
TEST_P(GradientSyncRanks, DivergenceIsFound) {
  on_all_ranks(check_divergence_is_found);
}

}  // namespace
}  // namespace dinoxx
