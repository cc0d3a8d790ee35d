#include "report/run/run_report.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "dinoxx/base/error.hpp"
#include "page_checks.hpp"
#include "run_folder.hpp"

namespace dinoxx::report {
namespace {

using dinoxx::testing_support::TemporaryFolder;
using nlohmann::json;
using testing::HasSubstr;

TEST(RunReport, ShowsWhatTheRunLogged) {
  const TemporaryFolder folder;
  const std::filesystem::path run = folder / "a<b>&c";
  FakeRun(run)
      .raw(json{{"event", "start"},
                {"step", 0},
                {"world_size", 2},
                {"images", 100},
                {"command", "dinoxx train --out 'a<b>'"},
                {"auto", {"x = 1 (as <y>)"}}}
               .dump() +
           "\n")
      .step(10, 3.25, 50,
            {{"lr", 0.001}, {"patch_loss", 1.5}, {"kl", 0.5}, {"effective_rank", 12.0}, {"data_wait", 0.25}, {"new <term>", 1.0}})
      .step(20, 2.75, 50,
            {{"lr", 0.002}, {"patch_loss", 1.25}, {"kl", 0.25}, {"effective_rank", 11.0}, {"data_wait", 0.5}, {"new <term>", 2.0}})
      .eval(20, 0.4321)
      .raw("{\"event\":\"collapse\",\"step\":20,\"signs\":\"one <line>\"}\n{\"event\":\"skipped\",\"step\":21,\"where\":\"the loss\"}\n")
      .raw("{\"step\":30,\"eval\":{\"error\":\"bad <image>\"}}\n");
  const std::filesystem::path page = write_run_report(run);
  EXPECT_EQ(page, run / "report.html");
  std::ifstream file(page);
  const std::string html((std::istreambuf_iterator<char>(file)), {});
  expect_good_page(html);
  for (const char* part :
       {"43.21", "<strong>Loss</strong>", "<strong>patch_loss</strong>", "new &lt;term&gt;", "Learning rate", "Waiting for data",
        "Effective rank", "Collapse alarm at step 20: one &lt;line&gt;", "Step 21 skipped", "failed: bad &lt;image&gt;",
        "dinoxx train --out &#39;a&lt;b&gt;&#39;", "x = 1 (as &lt;y&gt;)", "batch_size = 10", "Training run a&lt;b&gt;&amp;c"})
    EXPECT_THAT(html, HasSubstr(part));
}

TEST(RunReport, ARunThatHasJustStartedHasAPage) {
  const TemporaryFolder folder;
  FakeRun(folder / "a").start(0);
  const std::string html = run_report_html(read_run(folder / "a"));
  expect_good_page(html);
  EXPECT_THAT(html, HasSubstr("No step is logged yet"));
  EXPECT_THROW(write_run_report(folder / "absent"), UsageError);
}

TEST(RunReport, AComparisonIsAPageToo) {
  const TemporaryFolder folder;
  for (int seed = 0; seed < 3; ++seed)
    FakeRun(folder / fmt::format("s<{}>", seed), {{"train.seed", std::to_string(seed)}})
        .start(0)
        .step(10, 2.0)
        .eval(10, 0.5 + 0.1 * seed)
        .step(20, 1.0)
        .eval(20, 0.6 + 0.1 * seed);
  FakeRun(folder / "byol", {{"train.method", "byol"}}).start(0).step(10, 1.0).eval(10, 0.4);
  const std::string html = comparison_html(compare_runs({folder / "s<0>", folder / "s<1>", folder / "s<2>", folder / "byol"}));
  expect_good_page(html);
  EXPECT_THAT(html, HasSubstr("60.00 (50.00 to 70.00) sd 10.00"));
  EXPECT_THAT(html, HasSubstr("train.method"));
  EXPECT_THAT(html, HasSubstr("class=\"b s0\""));  // the band of the seeds
  FakeRun(folder / "new").start(0);
  expect_good_page(comparison_html(compare_runs({folder / "new"})));
}

}  // namespace
}  // namespace dinoxx::report
