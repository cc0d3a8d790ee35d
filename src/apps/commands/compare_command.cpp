#include <boost/program_options.hpp>

#include "apps/commands.hpp"
#include "base/files.hpp"
#include "command.hpp"
#include "dinoxx/base/error.hpp"
#include "report/run/compare.hpp"
#include "report/run/run_report.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage = R"(dinoxx compare: training runs side by side, also while they go on.

  dinoxx compare RUN... [--csv FILE] [--html FILE]

Prints what each run is and how far it is, k-NN accuracy after equal numbers of images, and the training keys that differ. Runs that differ
in train.seed alone are one group: mean and spread. FILE.html has the same with charts.
)";

}  // namespace

int run_compare(int argc, char** argv) {
  std::string csv, html;
  po::options_description own("options");
  own.add_options()("csv", po::value(&csv)->value_name("FILE"), "one line per run and evaluation")(
      "html", po::value(&html)->value_name("FILE"), "a page with charts, one file without scripts");
  const PlainLine line = parse_line(argc, argv, own, kUsage);
  if (!line.help.empty()) {
    fmt::print("{}", line.help);
    return static_cast<int>(ExitCode::kDone);
  }
  const std::vector<std::filesystem::path> runs(line.words.begin(), line.words.end());
  const report::Comparison comparison = report::compare_runs(runs);
  if (!csv.empty()) write_file_atomically(csv, report::comparison_csv(comparison));
  if (!html.empty()) write_file_atomically(html, report::comparison_html(comparison));
  fmt::print("{}", report::comparison_text(comparison));
  return static_cast<int>(ExitCode::kDone);
}

}  // namespace dinoxx
