// When a run logs, evaluates and saves, and which checkpoints stay.
#include "train/calendar.hpp"

#include <gmock/gmock.h>

namespace dinoxx {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// 10 images in batches of 4: an epoch is two steps and a half.
Calendar calendar(const std::vector<Setting>& settings, int64_t total_steps, uint64_t images = 10) {
  Config config = default_config();
  apply_settings(config,
                 {{"train.batch_size", "4", ""}, {"optim.warmup", "0", ""}, {"eval.every", "0", ""}, {"checkpoint.every", "0", ""}});
  apply_settings(config, settings);
  return Calendar(config, images, total_steps);
}

// The steps of a run after which `due` holds.
std::vector<int64_t> steps_of(const Calendar& calendar, bool (Calendar::*due)(int64_t) const) {
  std::vector<int64_t> steps;
  for (int64_t step = 1; step <= calendar.total_steps(); ++step)
    if ((calendar.*due)(step)) steps.push_back(step);
  return steps;
}

TEST(Calendar, TheLastStepIsEvaluatedWhateverThePeriod) {
  const auto evaluations = [](const char* every, int64_t total) {
    return steps_of(calendar({{"eval.every", every, ""}}, total), &Calendar::evaluates_after);
  };
  EXPECT_THAT(evaluations("4it", 10), ElementsAre(4, 8, 10));
  EXPECT_THAT(evaluations("5it", 10), ElementsAre(5, 10));
  EXPECT_THAT(evaluations("100it", 10), ElementsAre(10)) << "a period longer than the run";
  EXPECT_THAT(evaluations("1ep", 11), ElementsAre(3, 5, 8, 10, 11)) << "after the step in which the epoch's last image is seen";
  EXPECT_THAT(evaluations("24samples", 7), ElementsAre(6, 7));
  EXPECT_THAT(evaluations("0", 10), IsEmpty());
  EXPECT_FALSE(calendar({{"eval.every", "1it", ""}}, 10).evaluates_after(0)) << "nothing has been trained";
}

TEST(Calendar, SavesAtItsPeriodsAtThoseThatStayAndAtTheEnd) {
  const Calendar both = calendar({{"checkpoint.every", "4it", ""}, {"checkpoint.keep_every", "6it", ""}}, 13);
  EXPECT_THAT(steps_of(both, &Calendar::saves_after), ElementsAre(4, 6, 8, 12, 13));
  EXPECT_THAT(steps_of(both, &Calendar::keeps), ElementsAre(6, 12)) << "the last one is not kept for ever by being the last";
  EXPECT_THAT(steps_of(calendar({}, 13), &Calendar::saves_after), ElementsAre(13)) << "the end is saved even with checkpoint.every = 0";
}

TEST(Calendar, LogsComparesRanksAndWarmsUp) {
  const Calendar c = calendar({{"train.log_every", "4", ""}, {"train.check_every", "5", ""}, {"optim.warmup", "2it", ""}}, 11);
  EXPECT_THAT(steps_of(c, &Calendar::logs_after), ElementsAre(4, 8, 11));
  EXPECT_THAT(steps_of(c, &Calendar::compares_ranks_after), ElementsAre(5, 10));
  EXPECT_THAT(steps_of(c, &Calendar::warms_up), ElementsAre(1, 2));
  EXPECT_THAT(steps_of(calendar({{"train.check_every", "0", ""}}, 11), &Calendar::compares_ranks_after), IsEmpty());
}

// 12 steps of 2 images came before, then batches of 4: epochs and images go on at image 24, lengths in steps at step 12.
TEST(Calendar, AfterAnotherBatchEpochsCountImages) {
  Config config = default_config();
  apply_settings(config, {{"train.batch_size", "4", ""},
                          {"optim.warmup", "7it", ""},
                          {"eval.every", "1ep", ""},
                          {"checkpoint.every", "5it", ""},
                          {"checkpoint.keep_every", "20samples", ""}});
  const Calendar c(config, 10, 20, /*step=*/12, /*position=*/24);
  const auto after = [&](bool (Calendar::*due)(int64_t) const) {
    std::vector<int64_t> steps = steps_of(c, due);
    std::erase_if(steps, [](int64_t step) { return step <= 12; });
    return steps;
  };
  EXPECT_THAT(after(&Calendar::evaluates_after), ElementsAre(14, 16, 19, 20)) << "images 30, 40 and 50, and the end";
  EXPECT_THAT(after(&Calendar::keeps), ElementsAre(16)) << "image 40";
  EXPECT_THAT(after(&Calendar::saves_after), ElementsAre(15, 16, 20));
  EXPECT_TRUE(c.warms_up(13)) << "image 28 is step 7 of this batch";
  EXPECT_FALSE(c.warms_up(14));
}

}  // namespace
}  // namespace dinoxx
