#include <boost/program_options.hpp>

#include "apps/commands.hpp"
#include "command.hpp"
#include "dinoxx/base/error.hpp"
#include "history/run_history.hpp"
#include "report/eval/eval_report.hpp"
#include "report/run/run_report.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

constexpr const char* kUsage = R"(dinoxx report: a page about a training run or an evaluation, to open in any browser.

  dinoxx report RUN                    of a run folder, also while the run goes on: RUN/report.html
  dinoxx report DIR [--data DATA]      of a folder of "dinoxx eval": DIR/report.html; with DATA also example images

The page is one file without scripts; it loads nothing from anywhere.
)";

}  // namespace

int run_report(int argc, char** argv) {
  std::string data;
  po::options_description own("options");
  own.add_options()("data", po::value(&data)->value_name("DATA"), "the packed images of the evaluation, for example images");
  const PlainLine line = parse_line(argc, argv, own, kUsage, "one folder and options that it has", /*most_words=*/1);
  if (!line.help.empty()) {
    fmt::print("{}", line.help);
    return static_cast<int>(ExitCode::kDone);
  }
  const std::string folder = line.words.empty() ? "" : line.words.front();
  if (folder.empty())
    fail_usage("dinoxx report", "a run folder or a folder of \"dinoxx eval\"", "nothing", "See \"dinoxx report --help\".");
  fs::path page;
  if (RunHistory(folder).has_metrics()) {
    if (!data.empty()) fail_usage("--data", "the report of an evaluation", "that of a training run", "Leave it out.");
    page = report::write_run_report(folder);
  } else if (fs::exists(fs::path(folder) / "results.json")) {
    page = report::write_eval_report(folder, data.empty() ? std::nullopt : std::optional<fs::path>(data));
  } else {
    fail_usage(folder, "a folder with metrics.jsonl (dinoxx train) or results.json (dinoxx eval)",
               fs::exists(folder) ? "neither" : "no such folder", "Name the --out of one of them.");
  }
  fmt::print("{}\n", page.string());
  return static_cast<int>(ExitCode::kDone);
}

}  // namespace dinoxx
