// What a run folder holds and where a start goes on, on folders written by hand. The same by the program: tests/integration/train.
#include "history/run_history.hpp"

#include <gmock/gmock.h>

#include <fstream>

#include "base/files.hpp"
#include "dinoxx/base/error.hpp"
#include "support/temporary_folder.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;

class RunHistoryTest : public testing::Test {
 protected:
  // A checkpoint as far as a history looks: its folder and a manifest.
  fs::path save(int64_t step) const { return save(history_, step); }
  static fs::path save(const RunHistory& history, int64_t step) {
    const fs::path folder = history.checkpoint_folder(step);
    fs::create_directories(folder);
    std::ofstream(folder / "manifest.json") << "{}";
    return folder;
  }
  void write_metrics(const std::string& text) const {
    fs::create_directories(history_.folder());
    std::ofstream(history_.metrics_file()) << text;
  }
  std::vector<int64_t> steps() const {
    std::vector<int64_t> steps;
    for (const SavedCheckpoint& saved : history_.checkpoints()) steps.push_back(saved.step);
    return steps;
  }

  testing_support::TemporaryFolder work_;
  RunHistory history_{work_ / "run"};
};

TEST_F(RunHistoryTest, AFolderThatIsNotThereHasNoHistory) {
  EXPECT_FALSE(history_.begun());
  EXPECT_FALSE(history_.has_config());
  EXPECT_THAT(history_.checkpoints(), IsEmpty());
  EXPECT_EQ(history_.newest_checkpoint(), std::nullopt);
  EXPECT_EQ(history_.resume_point("auto"), std::nullopt);
  EXPECT_EQ(history_.resume_point("never"), std::nullopt);
  EXPECT_EQ(history_.journal().last_step(), 0);
  EXPECT_EQ(history_.set_back(7), -1);
  EXPECT_FALSE(fs::exists(history_.folder())) << "a question makes no folder";
}

TEST_F(RunHistoryTest, CheckpointsAreInTheOrderOfTheirSteps) {
  for (const int64_t step : {300, 20, 123456789, 99999999}) save(step);
  fs::create_directories(history_.checkpoint_folder(400));  // without a manifest: its removal was interrupted
  fs::create_directories(history_.checkpoints_folder() / "else");
  EXPECT_THAT(steps(), ElementsAre(20, 300, 99999999, 123456789));
  EXPECT_EQ(history_.newest_checkpoint(), history_.checkpoint_folder(123456789));
  EXPECT_EQ(history_.checkpoint_of(300), history_.checkpoint_folder(300));
  EXPECT_EQ(history_.checkpoint_of(400), std::nullopt);
}

TEST_F(RunHistoryTest, AStartGoesOnFromTheNewestFromNoneOrFromTheOneNamed) {
  const fs::path first = save(4), second = save(8);
  EXPECT_EQ(history_.resume_point("auto"), second);
  EXPECT_EQ(history_.resume_point(""), std::nullopt);
  EXPECT_EQ(history_.resume_point(first.string()), first);
  EXPECT_THAT([&] { history_.resume_point("never"); }, ThrowsMessage<UsageError>(HasSubstr("--resume never")));
  EXPECT_THAT([&] { history_.resume_point(history_.folder().string()); }, ThrowsMessage<UsageError>(HasSubstr("manifest.json")));
}

TEST_F(RunHistoryTest, AJournalAloneIsARunThatHasBegun) {
  write_metrics("{\"event\":\"start\",\"step\":0}\n");
  EXPECT_TRUE(history_.begun());
  EXPECT_EQ(history_.resume_point("auto"), std::nullopt);
  EXPECT_THAT([&] { history_.resume_point("never"); }, ThrowsMessage<UsageError>(HasSubstr("found a run")));
}

TEST_F(RunHistoryTest, SettingBackKeepsTheLinesUpToTheStepAsTheyStand) {
  const std::string kept =
      "{\"event\":\"start\",\"step\":0,\"world_size\":2}\n{\"loss\":3.0,   "
      "\"step\":2}\n{\"eval\":{},\"step\":2}\n{\"step\":4,\"loss\":2}\n";
  write_metrics(kept + "{\"step\":6,\"loss\":1}\n{\"eval\":{},\"step\":6}\n{\"step\":7,\"lo");
  EXPECT_EQ(history_.set_back(4), 2) << "the evaluation at step 6 is to be done again";
  EXPECT_EQ(read_text(history_.metrics_file()), kept);
  const RunJournal journal = history_.journal();
  EXPECT_THAT(journal.steps, ElementsAre(2, 4));
  EXPECT_EQ(journal.last_evaluated(), 2);
  EXPECT_EQ(journal.ranks(), 2);
  EXPECT_EQ(history_.set_back(1), -1) << "no evaluation is left";
}

TEST_F(RunHistoryTest, AResumeOnOtherRanksIsAStartOfItsOwn) {
  write_metrics(
      "{\"event\":\"start\",\"step\":0,\"world_size\":4}\n{\"step\":2,\"loss\":3}\n{\"step\":4,\"loss\":2}\n{\"eval\":{},\"step\":4}\n"
      "{\"event\":\"start\",\"step\":2,\"world_size\":1}\n{\"step\":4,\"loss\":1}\n{\"event\":\"collapse\",\"step\":4}\n");
  const RunJournal journal = history_.journal();
  EXPECT_EQ(journal.starts.size(), 2u);
  EXPECT_EQ(journal.ranks(), 1);
  EXPECT_THAT(journal.steps, ElementsAre(2, 4));
  EXPECT_THAT(journal.columns.at("loss"), ElementsAre(3, 1));
  EXPECT_EQ(journal.last_evaluated(), -1) << "the second start voids what stood behind its step";
  EXPECT_EQ(journal.events.size(), 1u);
  EXPECT_EQ(journal.last_step(), 4);
}

TEST_F(RunHistoryTest, WhatWasSavedAndEvaluatedIsNotDoneAgain) {
  history_.go_on(0, /*saved=*/false, /*evaluated=*/-1);
  EXPECT_FALSE(history_.is_saved(0)) << "a run that stops at once saves its start";
  history_.go_on(8, /*saved=*/true, /*evaluated=*/4);
  EXPECT_TRUE(history_.is_saved(8));
  EXPECT_FALSE(history_.is_evaluated(8)) << "the stop came before the evaluation";
  history_.note_evaluated(8);
  history_.note_saved(9);
  EXPECT_TRUE(history_.is_evaluated(8));
  EXPECT_FALSE(history_.is_saved(8)) << "the last one alone counts: steps only go up";
}

TEST_F(RunHistoryTest, PruningKeepsTheNewestAndThoseThatStay) {
  for (const int64_t step : {10, 15, 20, 25, 30}) save(step);
  fs::create_directories(history_.checkpoints_folder() / ".step_00000035.partial");
  history_.prune(2, [](int64_t step) { return step % 20 == 0; });
  EXPECT_THAT(steps(), ElementsAre(20, 25, 30));
  EXPECT_FALSE(fs::exists(history_.checkpoints_folder() / ".step_00000035.partial"));
}

TEST_F(RunHistoryTest, StudentsOfAJobGoOnFromTheNewestStepThatAllHave) {
  const std::vector<RunHistory> runs{RunHistory(work_ / "a"), RunHistory(work_ / "b"), RunHistory(work_ / "c")};
  EXPECT_EQ(newest_common_step(runs), -1);
  for (const int64_t step : {2, 4, 6}) save(runs[0], step);
  for (const int64_t step : {2, 4}) save(runs[1], step);
  EXPECT_EQ(newest_common_step(runs), -1) << "the third has none";
  for (const int64_t step : {2, 4, 8}) save(runs[2], step);
  EXPECT_EQ(newest_common_step(runs), 4);
}

}  // namespace
}  // namespace dinoxx
