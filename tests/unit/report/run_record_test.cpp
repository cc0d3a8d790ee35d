#include "report/run/run_record.hpp"

#include <gmock/gmock.h>

#include <cmath>

#include "dinoxx/base/error.hpp"
#include "run_folder.hpp"

namespace dinoxx::report {
namespace {

using dinoxx::testing_support::TemporaryFolder;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// 20 steps of 10 images, then batches of 20: the starts know.
TEST(RunRecord, ImagesSeenWhereTheBatchHasChanged) {
  const TemporaryFolder folder;
  FakeRun run_folder(folder / "a");
  const auto start = [&](int64_t step, int64_t samples, int64_t batch, int64_t total) {
    run_folder.raw(
        nlohmann::json{
            {"event", "start"}, {"step", step}, {"samples", samples}, {"batch_size", batch}, {"total_steps", total}, {"images", 100}}
            .dump() +
        "\n");
  };
  start(0, 0, 10, 40);
  run_folder.step(10, 3.0).step(20, 2.0);
  start(20, 200, 20, 30);
  run_folder.step(25, 1.0);
  const RunRecord run = read_run(folder / "a");
  EXPECT_EQ(run.images_seen(10), 100);
  EXPECT_EQ(run.images_seen(20), 200);
  EXPECT_EQ(run.images_seen(25), 300);
  EXPECT_EQ(run.total_steps(), 30);
  EXPECT_THAT(run.seconds, ElementsAre(2.0, 4.0, 6.0)) << "50 images a second";
}

TEST(RunRecord, StepsEvaluationsAndFigures) {
  const TemporaryFolder folder;
  FakeRun(folder / "a")
      .start(0)
      .step(10, 3.0)
      .step(20, 2.0, 25)
      .eval(20, 0.25)
      .step(30, 1.5, 100, {{"kl", nullptr}, {"effective_rank", 7.5}});
  const RunRecord run = read_run(folder / "a");
  EXPECT_EQ(run.name, "a");
  EXPECT_THAT(run.steps, ElementsAre(10, 20, 30));
  EXPECT_THAT(run.columns.at("loss"), ElementsAre(3.0, 2.0, 1.5));
  EXPECT_TRUE(std::isnan(run.columns.at("effective_rank").at(0)));
  EXPECT_EQ(run.last("effective_rank"), 7.5);
  EXPECT_TRUE(std::isnan(run.last("kl")));
  EXPECT_THAT(run.seconds, ElementsAre(2.0, 6.0, 7.0));  // 100 images at 50, 25 and 100 a second
  EXPECT_DOUBLE_EQ(run.images_per_second(), 300.0 / 7.0);
  EXPECT_EQ(run.total_steps(), 40);  // 4 epochs of 100 images in batches of 10
  EXPECT_EQ(run.ranks(), 2);
  EXPECT_EQ(run.evals.size(), 1u);
  EXPECT_THAT(run.notes, IsEmpty());
}

TEST(RunRecord, WhatIsDoneAgainAfterAResumeCountsOnce) {
  const TemporaryFolder folder;
  FakeRun(folder / "a")
      .start(0)
      .step(10, 3.0)
      .step(20, 2.0)
      .eval(20, 0.2)
      .step(30, 9.0)
      .eval(30, 0.9)
      .start(25)  // a crash: the checkpoint was of step 25
      .step(30, 1.5)
      .eval(30, 0.3)
      .step(30, 1.25)  // and once more, without a start
      .eval(30, 0.35);
  const RunRecord run = read_run(folder / "a");
  EXPECT_THAT(run.steps, ElementsAre(10, 20, 30));
  EXPECT_THAT(run.columns.at("loss"), ElementsAre(3.0, 2.0, 1.25));
  ASSERT_EQ(run.evals.size(), 2u);
  EXPECT_EQ(run.evals[1]["eval"]["accuracy"], 0.35);
  EXPECT_THAT(run.seconds, ElementsAre(2.0, 4.0, 5.0));  // the last record covers 5 steps alone
  EXPECT_DOUBLE_EQ(run.images_timed, 250);
  EXPECT_EQ(run.starts.size(), 2u);
}

TEST(RunRecord, WhatAResumeWillDoAgainIsNotYetThere) {
  const TemporaryFolder folder;
  FakeRun(folder / "a").start(0).step(10, 3.0).step(20, 2.0).eval(20, 0.2).step(30, 9.0).eval(30, 0.9).start(25);
  const RunRecord run = read_run(folder / "a");
  EXPECT_THAT(run.steps, ElementsAre(10, 20));
  EXPECT_THAT(run.columns.at("loss"), ElementsAre(3.0, 2.0));
  EXPECT_EQ(run.evals.size(), 1u);
  EXPECT_EQ(run.last_step(), 25);
}

TEST(RunRecord, ADamagedLineIsLeftOutAndACutOneIsNotWrittenYet) {
  const TemporaryFolder folder;
  FakeRun(folder / "a").start(0).step(10, 3.0).raw("{\"step\": 20, \"lo\x80\n").step(30, 2.0).raw("{\"step\": 40, \"loss\": 1.0");
  const RunRecord run = read_run(folder / "a");
  EXPECT_THAT(run.steps, ElementsAre(10, 30));
  EXPECT_THAT(run.notes, ElementsAre(HasSubstr("1 damaged line of")));
}

TEST(RunRecord, AStartedRunWithoutStepsAndOneWithoutConfigurationAreRuns) {
  const TemporaryFolder folder;
  FakeRun(folder / "empty");
  const RunRecord empty = read_run(folder / "empty");
  EXPECT_EQ(empty.last_step(), 0);
  EXPECT_EQ(empty.total_steps(), 0);
  EXPECT_TRUE(std::isnan(empty.images_per_second()));
  FakeRun(folder / "bare").start(0).step(10, 1.0);
  std::filesystem::remove(folder / "bare" / "config.cfg");
  const RunRecord bare = read_run(folder / "bare");
  EXPECT_EQ(bare.batch(), 0);
  EXPECT_THAT(bare.notes, ElementsAre(HasSubstr("no config.cfg")));
}

TEST(RunRecord, KeysOfAnotherVersionAreNoted) {
  const TemporaryFolder folder;
  FakeRun(folder / "a").start(0);
  std::ofstream(folder / "a" / "config.cfg", std::ios::app) << "[old]\nkey = 3\n";
  EXPECT_THAT(read_run(folder / "a").notes, ElementsAre(HasSubstr("old.key")));
  std::ofstream(folder / "a" / "config.cfg") << "[train]\nbatch_size = 10\n";  // an older one
  const RunRecord older = read_run(folder / "a");
  EXPECT_TRUE(older.absent_keys.contains("train.method"));
  EXPECT_FALSE(older.absent_keys.contains("train.batch_size"));
}

TEST(RunRecord, OtherFoldersAreRefusedByName) {
  const TemporaryFolder folder;
  const auto message = [&](const std::filesystem::path& path) {
    try {
      read_run(path);
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(message(folder / "absent"), HasSubstr("nothing there"));
  EXPECT_THAT(message(folder.path()), HasSubstr("metrics.jsonl"));
  std::ofstream(folder / "results.json") << "{}";
  EXPECT_THAT(message(folder.path()), HasSubstr("dinoxx eval"));
  EXPECT_THAT(message(folder / "results.json"), HasSubstr("a file"));
}

}  // namespace
}  // namespace dinoxx::report
