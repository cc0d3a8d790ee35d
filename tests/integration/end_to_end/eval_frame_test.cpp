// What surrounds the numbers of an evaluation, as a user meets it: features that are kept, progress, and the steps of a training's
// schedule.
#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>

#include "formats/safetensors.hpp"
#include "program.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using namespace testing_support;

std::string eval_line(const fs::path& out, const std::string& more) {
  Workshop& shop = Workshop::get();
  return "eval --checkpoint " + shop.run().string() + " --data " + shop.data().string() + " --protocol knn,clustering,logistic --out " +
         out.string() + " " + more;
}

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(EvalCache, ResultsAreTheSameByteForByteAndTheSecondTimeNothingIsEmbedded) {
  const fs::path folder = Workshop::get().folder / "kept";
  const auto run = [&](const std::string& name, const std::string& more, int ranks) {
    const RunResult result = dinoxx_run(eval_line(folder / name, more), ranks);
    EXPECT_EQ(result.code, 0) << result.output;
    return json_file(folder / name / "results.json")["run"];
  };
  EXPECT_FALSE(run("without", "--cache none", 0).contains("cache"));
  EXPECT_FALSE(fs::exists(folder / "dinoxx_features"));
  const json first = run("first", "", 2);
  const fs::path features = folder / "dinoxx_features";
  EXPECT_EQ(first["cache"]["folder"], features.string());
  EXPECT_EQ(first["cache"]["written"].size(), 12u);  // three embedders and the hash; memory, queries, validation
  EXPECT_TRUE(first["cache"]["read"].empty());
  const json second = run("second", "", 0);
  EXPECT_EQ(second["cache"]["read"].size(), 12u);
  EXPECT_TRUE(second["cache"]["written"].empty());
  EXPECT_TRUE(second["seconds"].contains("cache"));
  const std::string expected = results_without_run(folder / "without").dump();
  for (const char* name : {"first", "second"}) {
    EXPECT_EQ(results_without_run(folder / name).dump(), expected) << name;
    for (const char* step : {"knn", "linear"})
      EXPECT_EQ(text_of(folder / name / (std::string("predictions_") + step + ".csv")),
                text_of(folder / "without" / (std::string("predictions_") + step + ".csv")));
  }
  // a damaged file is said and made anew
  const fs::path file = fs::directory_iterator(features)->path();
  const std::string good = text_of(file);
  std::string bad = good;
  bad[bad.size() - 1] ^= 1;
  std::ofstream(file, std::ios::binary) << bad;
  const RunResult again = dinoxx_run(eval_line(folder / "again", ""), 2);
  EXPECT_EQ(again.code, 0);
  EXPECT_THAT(again.output, HasSubstr("the file is damaged"));
  EXPECT_EQ(results_without_run(folder / "again").dump(), expected);
  EXPECT_EQ(text_of(file), good);
}

TEST(EvalCache, AFolderOfOnesOwnThatCannotBeMadeIsAMessage) {
  const fs::path folder = Workshop::get().folder / "no_folder";
  fs::create_directories(folder);
  std::ofstream(folder / "file") << "x";
  const RunResult result = dinoxx_run(eval_line(folder / "out", "--baselines none --cache " + (folder / "file" / "features").string()));
  EXPECT_EQ(result.code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("not kept"));
  expect_refusal(dinoxx_run(eval_line(folder / "refused", "--cache-limit 0")), 2, {"--cache-limit"}, folder / "refused");
}

TEST(TrainSuite, StepsOfTheScheduleAreInTheMetricsAndTheReportAndChangeNoBitOfTraining) {
  Workshop& shop = Workshop::get();
  const fs::path with = shop.folder / "with_steps", without = shop.folder / "without_steps";
  for (const auto& [run, more] :
       {std::pair{with, " --eval.every 1it --eval.suite knn,logistic,few_shot"}, std::pair{without, " --eval.every 0"}}) {
    const RunResult result = dinoxx_run(train_line(shop.data(), run, "--checkpoint.every 0" + std::string(more)), 2);
    ASSERT_EQ(result.code, 0) << result.output;
  }
  int evals = 0;
  for (const json& line : json_lines(with / "metrics.jsonl")) {
    if (!line.contains("eval")) continue;
    ++evals;
    EXPECT_EQ(line["eval"]["suite"], "knn,linear,few");
    EXPECT_EQ(line["eval"]["queries"], "val");
    EXPECT_TRUE(line["eval"]["accuracy"].is_number());
    EXPECT_TRUE(line["eval"]["steps"]["linear"]["plain_accuracy"].is_number()) << line;
    EXPECT_TRUE(line["eval"]["steps"]["few"]["simpleshot_accuracy"].is_number()) << line;
  }
  EXPECT_GT(evals, 1);
  EXPECT_THAT(text_of(with / "report.html"), HasSubstr("logistic on frozen features"));
  EXPECT_THAT(text_of(without / "report.html"), Not(HasSubstr("logistic on frozen features")));
  const SafetensorsFile a(with / "checkpoints" / "step_00000003" / "teacher.safetensors");
  const SafetensorsFile b(without / "checkpoints" / "step_00000003" / "teacher.safetensors");
  EXPECT_GT(a.tensors().size(), 10u);
  for (const auto& [name, view] : a.tensors()) EXPECT_TRUE(std::ranges::equal(view.bytes, b.at(name).bytes)) << name;
  expect_refusal(dinoxx_run(train_line(shop.data(), shop.folder / "refused_suite", "--eval.suite knn,finetune")), 2,
                 {"eval.suite", "logistic"});
}

}  // namespace
}  // namespace dinoxx
