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
  EXPECT_THAT(history_.resume_points("auto"), IsEmpty());
  EXPECT_THAT(history_.resume_points("never"), IsEmpty());
  EXPECT_EQ(history_.journal().last_step(), 0);
  EXPECT_EQ(history_.branch(), 0);
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
  EXPECT_THAT(history_.resume_points("auto"), ElementsAre(second, first)) << "the next one where the newest is damaged";
  EXPECT_THAT(history_.resume_points("strict"), ElementsAre(second, first));
  EXPECT_THAT(history_.resume_points(""), IsEmpty());
  EXPECT_THAT(history_.resume_points(first.string()), ElementsAre(first));
  EXPECT_THAT(history_.resume_points(first.string() + "/"), ElementsAre(first)) << "as a shell completes it";
  EXPECT_THAT([&] { history_.resume_points("never"); }, ThrowsMessage<UsageError>(HasSubstr("--resume never")));
  EXPECT_THAT([&] { history_.resume_points(history_.folder().string()); }, ThrowsMessage<UsageError>(HasSubstr("manifest.json")));
}

TEST_F(RunHistoryTest, AJournalAloneIsARunThatHasBegun) {
  write_metrics("{\"event\":\"start\",\"step\":0}\n");
  EXPECT_TRUE(history_.begun());
  EXPECT_THAT(history_.resume_points("auto"), IsEmpty());
  EXPECT_THAT([&] { history_.resume_points("never"); }, ThrowsMessage<UsageError>(HasSubstr("found a run")));
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
  for (const char* name : {".step_00000035.partial", ".step_35.partial", ".step_00000035.replaced", "step_00000036.partial"})
    fs::create_directories(history_.checkpoints_folder() / name);
  EXPECT_THAT(history_.unfinished_saves(), ElementsAre(35)) << "a name of the program's own";
  history_.prune(2, [](int64_t step) { return step % 20 == 0; });
  EXPECT_THAT(steps(), ElementsAre(20, 25, 30));
  EXPECT_FALSE(fs::exists(history_.checkpoints_folder() / ".step_00000035.partial"));
}

TEST_F(RunHistoryTest, PruningKeepsWhatWasJustSavedAndWhatIsNotOurs) {
  for (const int64_t step : {200, 300, 400}) save(step);
  for (const char* name : {"step_00000400.bak", "step_notes"}) fs::create_directories(history_.checkpoints_folder() / name);
  history_.go_on(200, /*saved=*/true, -1);
  history_.note_saved(296);
  save(296);
  history_.prune(1, [](int64_t) { return false; });
  EXPECT_THAT(steps(), ElementsAre(296, 400));
  EXPECT_TRUE(fs::exists(history_.checkpoints_folder() / "step_00000400.bak")) << "a name that the program never gives";
  EXPECT_TRUE(fs::exists(history_.checkpoints_folder() / "step_notes"));
}

TEST_F(RunHistoryTest, ACheckpointThatIsToStaySaysSoItself) {
  for (const int64_t step : {10, 15, 20, 25}) save(step);
  std::ofstream(history_.checkpoint_folder(15) / "manifest.json") << "{\"stays\": true}";
  std::ofstream(history_.checkpoint_folder(20) / "manifest.json") << "{\"stays\": false}";
  history_.prune(1, [](int64_t step) { return step % 10 == 0; });
  EXPECT_THAT(steps(), ElementsAre(10, 15, 25)) << "the first by the rhythm of today: an older release wrote it";
}

TEST_F(RunHistoryTest, ACopyUnderAnotherNameIsNoCheckpoint) {
  save(400);
  fs::create_directories(history_.checkpoints_folder());
  fs::copy(history_.checkpoint_folder(400), history_.checkpoints_folder() / "step_00000400.bak");
  EXPECT_THAT(steps(), ElementsAre(400));
  EXPECT_EQ(history_.newest_checkpoint(), history_.checkpoint_folder(400)) << "a longer name is no later step";
}

TEST_F(RunHistoryTest, GoingBackSetsLaterStepsAsideAsARunOfTheirOwn) {
  for (const int64_t step : {100, 200, 300, 400}) save(step);
  const std::string metrics = "{\"event\":\"start\",\"step\":0}\n{\"step\":200,\"loss\":2}\n{\"step\":400,\"loss\":1}\n";
  write_metrics(metrics);
  std::ofstream(history_.config_file()) << "[train]\n";
  const std::vector<std::string> told = history_.make_way(history_.checkpoint_folder(200), 200);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_THAT(told[0], testing::AllOf(HasSubstr("steps 300, 400"), HasSubstr("branches/branch_0")));
  EXPECT_THAT(steps(), ElementsAre(100, 200));
  EXPECT_EQ(history_.newest_checkpoint(), history_.checkpoint_folder(200));
  EXPECT_EQ(history_.branch(), 1);
  const RunHistory left(history_.branches_folder() / "branch_0");
  EXPECT_EQ(left.newest_checkpoint(), left.checkpoint_folder(400));
  EXPECT_EQ(read_text(left.metrics_file()), metrics);
  EXPECT_TRUE(left.has_config());
  EXPECT_THAT(history_.make_way(history_.checkpoint_folder(200), 200), IsEmpty()) << "nothing is behind it any more";
  save(300);
  history_.make_way(history_.checkpoint_folder(100), 100);
  EXPECT_EQ(RunHistory(history_.branches_folder() / "branch_1").checkpoints().size(), 2u);
  EXPECT_EQ(history_.branch(), 2);
}

TEST_F(RunHistoryTest, GoingOnFromAnotherRunTakesItsJournalAndSetsAllAside) {
  for (const int64_t step : {100, 300}) save(step);
  write_metrics("{\"event\":\"start\",\"step\":0}\n{\"step\":100,\"loss\":9}\n");
  const RunHistory other(work_ / "other");
  const fs::path from = save(other, 200);
  const std::string kept = "{\"event\":\"start\",\"step\":0}\n{\"step\":200,\"loss\":2}\n";
  std::ofstream(other.metrics_file()) << kept << "{\"step\":300,\"loss\":1}\n";
  EXPECT_FALSE(history_.owns(from));
  EXPECT_EQ(history_.make_way(from, 200).size(), 1u);
  EXPECT_THAT(steps(), IsEmpty());
  EXPECT_EQ(read_text(history_.metrics_file()), kept);
  EXPECT_EQ(RunHistory(history_.branches_folder() / "branch_0").checkpoints().size(), 2u);
  EXPECT_EQ(other.checkpoints().size(), 1u) << "the other run stays as it is";
}

TEST_F(RunHistoryTest, AJournalThatTellsOfCheckpointsIsNotWrittenOver) {
  write_metrics("{\"event\":\"start\",\"step\":0}\n{\"step\":400,\"loss\":1}\n{\"event\":\"saved\",\"step\":400}\n");
  for (const char* resume : {"auto", "strict"})
    EXPECT_THAT([&] { history_.resume_points(resume); },
                ThrowsMessage<UsageError>(testing::AllOf(HasSubstr("step 400"), HasSubstr("checkpoints"))));
  write_metrics("{\"event\":\"start\",\"step\":200}\n{\"step\":400,\"loss\":1}\n");
  EXPECT_THAT([&] { history_.resume_points("auto"); }, ThrowsMessage<UsageError>(HasSubstr("step 200"))) << "of an older release";
}

TEST_F(RunHistoryTest, AJournalWithoutCheckpointsIsKeptWhenARunBeginsAnew) {
  const std::string metrics = "{\"event\":\"start\",\"step\":0}\n{\"step\":50,\"loss\":1}\n";  // killed before its first save
  write_metrics(metrics);
  EXPECT_THAT(history_.resume_points("auto"), IsEmpty());
  EXPECT_EQ(history_.make_way({}, 0).size(), 1u);
  EXPECT_EQ(read_text(history_.branches_folder() / "branch_0" / "metrics.jsonl"), metrics);
  EXPECT_EQ(read_text(history_.metrics_file()), "");
  write_metrics("{\"event\":\"start\",\"step\":0}\n");
  EXPECT_THAT(history_.make_way({}, 0), IsEmpty()) << "no step is told of";
}

TEST_F(RunHistoryTest, ALostManifestIsDamageOnlyWhereNothingWholeIsNewer) {
  for (const int64_t step : {100, 300}) save(step);
  for (const int64_t step : {200, 400}) fs::create_directories(history_.checkpoint_folder(step));
  EXPECT_THAT(history_.resume_points("auto"),
              ElementsAre(history_.checkpoint_folder(400), history_.checkpoint_folder(300), history_.checkpoint_folder(100)));
  EXPECT_EQ(history_.newest_checkpoint(), history_.checkpoint_folder(300));
  EXPECT_EQ(history_.set_damaged_aside({history_.checkpoint_folder(400)}).size(), 1u);
  EXPECT_TRUE(fs::exists(history_.folder() / "damaged" / "step_00000400"));
  fs::create_directories(history_.checkpoint_folder(400));
  history_.set_damaged_aside({history_.checkpoint_folder(400)});
  EXPECT_TRUE(fs::exists(history_.folder() / "damaged" / "step_00000400.2")) << "an earlier one is not written over";
}

TEST_F(RunHistoryTest, StudentsOfAJobGoOnFromAStepThatAllHave) {
  const std::vector<RunHistory> runs{RunHistory(work_ / "a"), RunHistory(work_ / "b"), RunHistory(work_ / "c")};
  EXPECT_EQ(common_steps(runs), std::vector<int64_t>{});
  for (const int64_t step : {2, 4, 6}) save(runs[0], step);
  for (const int64_t step : {2, 4}) save(runs[1], step);
  EXPECT_EQ(common_steps(runs), std::vector<int64_t>{}) << "the third has none";
  for (const int64_t step : {2, 4, 8}) save(runs[2], step);
  EXPECT_EQ(common_steps(runs), (std::vector<int64_t>{2, 4}));
}

}  // namespace
}  // namespace dinoxx
