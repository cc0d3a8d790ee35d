#include <gmock/gmock.h>

#include <fstream>

#include "base/files.hpp"
#include "program.hpp"

namespace dinoxx::testing_support {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

TEST(ReportCommand, ARunAnEvaluationAndAComparisonHavePages) {
  Workshop& workshop = Workshop::get();
  const fs::path run = workshop.run(), out = workshop.folder.path() / "evaluated", table = workshop.folder.path() / "runs.csv",
                 side = workshop.folder.path() / "runs.html";
  const RunResult trained = dinoxx_run("report " + run.string());
  ASSERT_EQ(trained.code, 0) << trained.output;
  EXPECT_THAT(read_text(run / "report.html"), HasSubstr("dinoxx train"));

  ASSERT_EQ(dinoxx_run("eval --checkpoint " + run.string() + " --data " + workshop.data().string() +
                       " --protocol knn,logistic --baselines none --out " + out.string())
                .code,
            0);
  const RunResult evaluated = dinoxx_run("report " + out.string() + " --data " + workshop.data().string());
  ASSERT_EQ(evaluated.code, 0) << evaluated.output;
  const std::string page = read_text(out / "report.html");
  EXPECT_THAT(page, HasSubstr("logistic regression, logit-adjusted on features of the checkpoint"));
  EXPECT_THAT(page, HasSubstr("src=\"data:image/png;base64,"));

  const RunResult compared = dinoxx_run("compare " + run.string() + " --csv " + table.string() + " --html " + side.string());
  ASSERT_EQ(compared.code, 0) << compared.output;
  EXPECT_THAT(compared.output, HasSubstr("100 %"));
  EXPECT_THAT(read_text(table), HasSubstr("run,group,method"));
  EXPECT_THAT(page, HasSubstr("Suspected label errors"));
  for (const auto& image : json_file(out / "results.json")["evidence"]["pictures"]["images"]) {
    EXPECT_TRUE(fs::exists(out / image["files"]["pca"].get<std::string>()));
    EXPECT_THAT(page, HasSubstr("first three principal components as colours"));
  }
}

TEST(ReportCommand, OtherFoldersAreRefused) {
  const fs::path folder = Workshop::get().folder.path(), empty = folder / "nothing_in_it";
  fs::create_directories(empty);
  expect_refusal(dinoxx_run("report " + empty.string()), 2, {"nothing_in_it", "metrics.jsonl"}, empty / "report.html");
  for (const char* command : {"propagate", "match"}) {
    const fs::path other = folder / command;
    fs::create_directories(other);
    std::ofstream(other / "results.json") << "{\"format\": \"dinoxx " << command << "\"}";
    expect_refusal(dinoxx_run("report " + other.string()), 2, {"results of \"dinoxx eval\"", std::string("results of \"dinoxx ") + command},
                   other / "report.html");
  }
  expect_refusal(dinoxx_run("report"), 2, {"a run folder"});
  expect_refusal(dinoxx_run("compare " + empty.string()), 2, {"nothing_in_it", "metrics.jsonl"});
  expect_refusal(dinoxx_run("compare"), 2, {"run folders"});
  expect_refusal(dinoxx_run("report " + Workshop::get().run().string() + " --data x"), 2, {"--data"});
}

}  // namespace
}  // namespace dinoxx::testing_support
