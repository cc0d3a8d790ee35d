#include <boost/program_options.hpp>

#include "apps/commands.hpp"
#include "base/files.hpp"
#include "base/json_text.hpp"
#include "command.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/comm/self_communicator.hpp"
#include "eval/several/compare_evaluations.hpp"
#include "history/run_history.hpp"
#include "report/comparison/comparison_pages.hpp"
#include "report/run/compare.hpp"
#include "report/run/run_report.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

constexpr const char* kUsage = R"(dinoxx compare: training runs, or evaluations, side by side.

  dinoxx compare RUN... [--csv FILE] [--html FILE]                 runs, also while they go on
  dinoxx compare DIR... [--csv FILE] [--html FILE] [--json FILE]   folders of "dinoxx eval": which backbone?

Of runs it prints what each is and how far it is, k-NN accuracy after equal numbers of images, and the training keys that differ. Runs that
differ in train.seed alone are one group: mean and spread.

Evaluations are compared when they are of the same data, with the same training and test images. It prints cost and scores of each checkpoint,
paired tests of each pair, corrected for their number, rare classes, and what of it can be relied on. DIR may be the --out of an evaluation of
several checkpoints. FILE.html is the same as a page with charts.
)";

struct Outputs {
  std::string csv, html, json;
};

void compare_runs(const std::vector<fs::path>& folders, const Outputs& outputs) {
  if (!outputs.json.empty()) fail_usage("--json", "folders of evaluations", "training runs", "Use --csv.");
  const report::Comparison comparison = report::compare_runs(folders);
  if (!outputs.csv.empty()) write_file_atomically(outputs.csv, report::comparison_csv(comparison));
  if (!outputs.html.empty()) write_file_atomically(outputs.html, report::comparison_html(comparison));
  fmt::print("{}", report::comparison_text(comparison));
}

void compare_evaluations(const std::vector<fs::path>& folders, const Outputs& outputs) {
  const std::shared_ptr<Communicator> alone = make_self_communicator();
  const nlohmann::json comparison = eval::compare_evaluations(folders, cores_of_rank(1), *alone);
  if (!outputs.json.empty()) write_file_atomically(outputs.json, json_text(comparison, 2) + "\n");
  if (!outputs.csv.empty()) write_file_atomically(outputs.csv, report::evaluations_csv(comparison));
  if (!outputs.html.empty()) write_file_atomically(outputs.html, report::evaluations_html(comparison));
  fmt::print("{}", report::evaluations_text(comparison));
}

// A folder of "dinoxx eval", of one checkpoint or of several. A run folder into which somebody evaluated is a run.
bool is_evaluation(const fs::path& folder) {
  return !RunHistory(folder).has_metrics() && (fs::exists(folder / "results.json") || fs::exists(folder / "comparison.json"));
}

}  // namespace

int run_compare(int argc, char** argv) {
  Outputs outputs;
  po::options_description own("options");
  own.add_options()("csv", po::value(&outputs.csv)->value_name("FILE"),
                    "of runs one line per run and evaluation, of evaluations one per checkpoint and score")(
      "html", po::value(&outputs.html)->value_name("FILE"), "a page with charts, one file without scripts")(
      "json", po::value(&outputs.json)->value_name("FILE"), "of evaluations: all scores and tests");
  const PlainLine line = parse_line(argc, argv, own, kUsage);
  if (!line.help.empty()) {
    fmt::print("{}", line.help);
    return static_cast<int>(ExitCode::kDone);
  }
  const std::vector<fs::path> folders(line.words.begin(), line.words.end());
  std::vector<fs::path> evaluations, others;
  for (const fs::path& folder : folders) (is_evaluation(folder) ? evaluations : others).push_back(folder);
  if (!evaluations.empty() && !others.empty())
    fail_usage("dinoxx compare", "runs or evaluations",
               fmt::format("{} is of \"dinoxx eval\" and {} is not", evaluations[0].string(), others[0].string()),
               "Name folders of one kind: with metrics.jsonl (dinoxx train) or with results.json (dinoxx eval).");
  if (evaluations.empty())
    compare_runs(folders, outputs);
  else
    compare_evaluations(folders, outputs);
  return static_cast<int>(ExitCode::kDone);
}

}  // namespace dinoxx
