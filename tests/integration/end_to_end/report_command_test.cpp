#include <gmock/gmock.h>

#include <cstdlib>

#include "dinoxx/core/files.hpp"
#include "program.hpp"

namespace dinoxx::testing_support {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string quiet(const std::string& command, const fs::path& log) {
  const int code = std::system((command + " > " + log.string() + " 2>&1").c_str());
  return code == 0 ? "" : read_text(log);
}

// Tools that not every machine has; what was not checked is said.
void validate(const fs::path& page, const fs::path& scratch) {
  if (std::string(DINOXX_TIDY).empty()) {
    std::printf("tidy is not installed: %s not validated\n", page.c_str());
  } else {
    // warnings (an empty span) are no errors
    EXPECT_EQ(quiet(std::string(DINOXX_TIDY) + " -q -e --show-warnings no " + page.string() + " || test $? -lt 2", scratch / "tidy.log"),
              "");
  }
  if (std::string(DINOXX_CHROMIUM).empty()) {
    std::printf("Chromium is not installed: %s not rendered\n", page.c_str());
    return;
  }
  for (const char* look : {"--window-size=1200,2000 --blink-settings=preferredColorScheme=1",
                           "--window-size=500,2000 --blink-settings=preferredColorScheme=0"}) {
    const fs::path picture = scratch / "page.png";
    fs::remove(picture);
    EXPECT_EQ(quiet(std::string(DINOXX_CHROMIUM) + " --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir=" +
                        (scratch / "browser").string() + " --screenshot=" + picture.string() + " " + look + " file://" + page.string(),
                    scratch / "browser.log"),
              "");
    ASSERT_TRUE(fs::exists(picture));
    EXPECT_GT(fs::file_size(picture), 20000u);  // a blank page of this size takes less than 10,000
  }
}

TEST(ReportCommand, ARunAnEvaluationAndAComparisonHavePages) {
  Workshop& workshop = Workshop::get();
  const fs::path run = workshop.run(), out = workshop.folder.path() / "evaluated", table = workshop.folder.path() / "runs.csv",
                 side = workshop.folder.path() / "runs.html";
  const RunResult trained = dinoxx_run("report " + run.string());
  ASSERT_EQ(trained.code, 0) << trained.output;
  EXPECT_THAT(read_text(run / "report.html"), HasSubstr("dinoxx train"));

  ASSERT_EQ(dinoxx_run("eval --checkpoint " + run.string() + " --data " + workshop.data().string() +
                       " --suite knn,linear --baselines none --out " + out.string())
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
  for (const fs::path& file : {run / "report.html", out / "report.html", side}) validate(file, workshop.folder.path());
}

TEST(ReportCommand, OtherFoldersAreRefused) {
  const fs::path folder = Workshop::get().folder.path(), empty = folder / "nothing_in_it";
  fs::create_directories(empty);
  expect_refusal(dinoxx_run("report " + empty.string()), 2, {"nothing_in_it", "metrics.jsonl"}, empty / "report.html");
  expect_refusal(dinoxx_run("report"), 2, {"a run folder"});
  expect_refusal(dinoxx_run("compare " + empty.string()), 2, {"nothing_in_it", "metrics.jsonl"});
  expect_refusal(dinoxx_run("compare"), 2, {"run folders"});
  expect_refusal(dinoxx_run("report " + Workshop::get().run().string() + " --data x"), 2, {"--data"});
}

}  // namespace
}  // namespace dinoxx::testing_support
