#include <boost/program_options.hpp>
#include <sstream>

#include "build_info.hpp"
#include "command.hpp"
#include "dinoxx/apps/commands.hpp"
#include "dinoxx/checkpoint/together.hpp"
#include "dinoxx/eval/evaluate.hpp"
#include "dinoxx/eval/ladder.hpp"
#include "dinoxx/report/eval_report.hpp"
#include "model_options.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage = R"(dinoxx eval: what the features of a checkpoint are worth.

  dinoxx eval --checkpoint RUN --data DATA --suite knn --out DIR              one process
  mpirun -n 4 dinoxx eval --checkpoint RUN --data DATA --suite knn --out DIR  four ranks, the same numbers

RUN is a run folder (its newest checkpoint), a checkpoint folder, or a safetensors file of a DINO backbone. DIR gets results.json and
predictions_STEP.csv. Steps learn from train (the memory) and are scored on test (the queries); --suite names them, "ladder" is all:

)";
constexpr const char* kMore = R"(
--model.* keys describe a foreign file where its shapes do not, for example --model.heads 6. Exit codes: 0 done, 1 failed, 2 bad usage.
)";

struct Line {
  eval::EvaluateOptions options;
  std::string help;
};

Split parse_split(const std::string& text) {
  if (text == "test") return Split::kTest;
  if (text == "val") return Split::kVal;
  fail_usage("--split", "test or val", fmt::format("\"{}\"", text), "The memory is always train.");
}

Line parse(int argc, char** argv) {
  Line line;
  eval::EvaluateOptions& options = line.options;
  std::string out, suites, baselines, split;
  po::options_description own("options", 140, 70);
  own.add_options()("out", po::value(&out)->value_name("DIR"), "where results.json goes")(
      "suite", po::value(&suites)->default_value("knn")->value_name("STEP[,...]|ladder"), "what to evaluate by")(
      "split", po::value(&split)->value_name("test|val"), "the queries; without it test, else val, else a tenth of train")(
      "baselines", po::value(&baselines)->default_value("untrained,raw")->value_name("NAMES|none"),
      "scored beside: a network of the same shape before training, raw pixels");
  const ModelOptions model = parse_model_options(argc, argv, "eval", own, {"eval.knn_k"});
  if (!model.help.empty()) {
    std::ostringstream text;
    text << kUsage;
    for (const eval::Step& step : eval::ladder()) text << fmt::format("  {:<8}{}; cost: {}\n", step.name, step.what, step.cost);
    text << kMore << "\n" << model.help;
    line.help = text.str();
    return line;
  }
  require_option("eval", out, "--out", "a folder for results.json");
  options.model = model.model;
  options.data = model.data;
  options.out = out;
  options.suites = eval::parse_names(suites, eval::suite_names(), "--suite");
  options.baselines = eval::parse_names(baselines, eval::baseline_names(), "--baselines", /*may_be_empty=*/true);
  if (!split.empty()) options.split = parse_split(split);
  options.image_size = model.image_size;
  options.threads = model.threads;
  if (!model.settings.empty()) {
    Config config = default_config();
    apply_settings(config, model.settings);
    options.knn.ks.assign(config.eval.knn_k.begin(), config.eval.knn_k.end());
  }
  options.command_line = command_line(argc, argv);
  options.build = build_info();
  return line;
}

}  // namespace

int run_eval(int argc, char** argv) {
  MpiRuntime mpi(&argc, &argv);
  return run_under_mpi(mpi, [&] {
    const auto comm = mpi.make_communicator();
    Line line;
    on_all_ranks(*comm, [&] { line = parse(argc, argv); });
    if (!line.help.empty()) {
      if (mpi.rank() == 0) fmt::print("{}", line.help);
      return static_cast<int>(ExitCode::kDone);
    }
    if (line.options.threads == 0) line.options.threads = cores_of_rank(mpi.local_size());
    const nlohmann::json results = eval::evaluate(line.options, *comm);
    if (mpi.rank() == 0) {
      fmt::print("{}{}\n", eval::results_table(results), (line.options.out / "results.json").string());
      try {  // the numbers are there: a page that fails is a message
        fmt::print("{}\n", report::write_eval_report(line.options.out, line.options.data).string());
      } catch (const std::exception& error) {
        fmt::print("no report: {}\n", error.what());
      }
    }
    return static_cast<int>(ExitCode::kDone);
  });
}

}  // namespace dinoxx
