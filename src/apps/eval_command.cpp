#include <boost/program_options.hpp>
#include <sstream>

#include "build_info.hpp"
#include "command.hpp"
#include "dinoxx/apps/commands.hpp"
#include "dinoxx/checkpoint/together.hpp"
#include "dinoxx/core/config_options.hpp"
#include "dinoxx/eval/evaluate.hpp"
#include "dinoxx/eval/ladder.hpp"
#include "dinoxx/report/eval_report.hpp"

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
  bool help = false;
  std::string help_text;
};

Split parse_split(const std::string& text) {
  if (text == "test") return Split::kTest;
  if (text == "val") return Split::kVal;
  fail_usage("--split", "test or val", fmt::format("\"{}\"", text), "The memory is always train.");
}

at::ScalarType parse_precision(const std::string& text) {
  if (text == "fp32") return at::kFloat;
  if (text == "bf16") return at::kBFloat16;
  fail_usage("--precision", "fp32 or bf16", fmt::format("\"{}\"", text), "fp32 is the published protocol.");
}

// Only the network may be described here: a learning rate on this command line would be silently without effect.
void take_settings(const std::vector<Setting>& settings, eval::EvaluateOptions& options) {
  for (const Setting& setting : settings) {
    if (setting.key == "eval.knn_k") {
      Config config = default_config();
      apply_settings(config, {setting});
      options.knn.ks.assign(config.eval.knn_k.begin(), config.eval.knn_k.end());
    } else if (setting.key.starts_with("model.")) {
      options.model.model_settings.push_back(setting);
    } else {
      fail_usage(setting.where, "options of eval, --model.* or --eval.knn_k", "a key of training", "See \"dinoxx eval --help\".");
    }
  }
}

Line parse(int argc, char** argv) {
  Line line;
  eval::EvaluateOptions& options = line.options;
  std::string checkpoint, data, out, suites, baselines, split, precision;
  int64_t step = -1, image_size = 0, threads = 0;
  po::options_description own("options", 140, 70);
  own.add_options()("help,h", "this text")("checkpoint", po::value(&checkpoint)->value_name("RUN|FILE"), "what to evaluate")(
      "checkpoint-step", po::value(&step)->value_name("N"), "this checkpoint of RUN instead of the newest")(
      "data", po::value(&data)->value_name("DATA"), "packed images with labels")("out", po::value(&out)->value_name("DIR"),
                                                                                 "where results.json goes")(
      "suite", po::value(&suites)->default_value("knn")->value_name("STEP[,...]|ladder"), "what to evaluate by")(
      "split", po::value(&split)->value_name("test|val"), "the queries; without it test, else val, else a tenth of train")(
      "baselines", po::value(&baselines)->default_value("untrained,raw")->value_name("NAMES|none"),
      "scored beside: a network of the same shape before training, raw pixels")("image-size", po::value(&image_size)->value_name("PIXELS"),
                                                                                "of the network's input; without it the size of training")(
      "precision", po::value(&precision)->default_value("fp32")->value_name("fp32|bf16"), "of the network")(
      "threads", po::value(&threads)->value_name("N"), "of each rank; without it OMP_NUM_THREADS, else the rank's share of the cores");
  const ConfigLine parsed = parse_config_line(argc, argv, own);
  if (parsed.variables.count("help")) {
    std::ostringstream text;
    text << kUsage;
    for (const eval::Step& step : eval::ladder()) text << fmt::format("  {:<8}{}; cost: {}\n", step.name, step.what, step.cost);
    text << kMore << "\n" << own;
    line.help = true;
    line.help_text = text.str();
    return line;
  }
  const auto required = [](const std::string& value, const char* option, const char* expected) {
    if (value.empty()) fail_usage(option, expected, "nothing", "See \"dinoxx eval --help\".");
  };
  required(checkpoint, "--checkpoint", "a run folder or a safetensors file");
  required(data, "--data", "a folder made by \"dinoxx pack\"");
  required(out, "--out", "a folder for results.json");
  const auto positive = [&](int64_t value, const char* option) {
    if (parsed.variables.count(option) && (value < 1 || value > 16384))
      fail_usage(fmt::format("--{}", option), "1 to 16384", std::to_string(value), "Change it.");
  };
  positive(image_size, "image-size");
  positive(threads, "threads");
  options.model.checkpoint = checkpoint;
  if (parsed.variables.count("checkpoint-step")) options.model.step = step;
  options.data = data;
  options.out = out;
  options.suites = eval::parse_names(suites, eval::suite_names(), "--suite");
  options.baselines = eval::parse_names(baselines, eval::baseline_names(), "--baselines", /*may_be_empty=*/true);
  if (!split.empty()) options.split = parse_split(split);
  if (image_size > 0) options.image_size = static_cast<int>(image_size);
  options.model.dtype = parse_precision(precision);
  options.threads = static_cast<int>(threads);
  take_settings(parsed.settings, options);
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
    if (line.help) {
      if (mpi.rank() == 0) fmt::print("{}", line.help_text);
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
