#include <unistd.h>

#include <boost/program_options.hpp>
#include <mutex>
#include <sstream>

#include "apps/commands.hpp"
#include "apps/finetune_options.hpp"
#include "apps/model_options.hpp"
#include "comm/agree.hpp"
#include "command.hpp"
#include "eval/run/evaluate.hpp"
#include "eval/run/ladder.hpp"
#include "report/eval/eval_report.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage = R"(dinoxx eval: what the features of a checkpoint are worth.

  dinoxx eval --checkpoint RUN --data DATA --suite knn --out DIR              one process
  mpirun -n 4 dinoxx eval --checkpoint RUN --data DATA --suite knn --out DIR  four ranks, the same numbers

RUN is a run folder (its newest checkpoint), a checkpoint folder, or weights of other programs: a safetensors, .pth or .bin file or a model
folder with a ViT of DINO v1, v2, v3, a ConvNeXt or a ResNet ("dinoxx weights inspect"). DIR gets results.json and predictions_STEP.csv.
Steps learn from train (the memory) and are scored on test (the queries); --suite names them, "ladder" is all:

)";
constexpr const char* kMore = R"(
--model.* keys describe a foreign file where its shapes do not, for example --model.heads 6. Exit codes: 0 done, 1 failed, 2 bad usage.
)";

constexpr double kGigabyte = 1e9;

// Standard error of a person who waits: one line that is rewritten on a terminal, lines in a file. From several threads.
class Waiting {
 public:
  Waiting() = default;
  ~Waiting() { clear(); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  bool terminal() const { return terminal_; }
  void show(const std::string& line) {
    const std::lock_guard lock(mutex_);
    fmt::print(stderr, "{}{:<{}}{}", terminal_ ? "\r" : "", line, shown_, terminal_ ? "" : "\n");
    if (terminal_) shown_ = line.size();
    std::fflush(stderr);
  }
  void say(const std::string& line) {
    clear();
    const std::lock_guard lock(mutex_);
    fmt::print(stderr, "{}\n", line);
  }
  void clear() {
    const std::lock_guard lock(mutex_);
    if (shown_ > 0) fmt::print(stderr, "\r{:<{}}\r", "", shown_);
    shown_ = 0;
    std::fflush(stderr);
  }

 private:
  std::mutex mutex_;
  bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  size_t shown_ = 0;
};

struct Line {
  eval::EvaluateOptions options;
  std::string help;
  bool quiet = false;
};

// Beside the results: there the user has chosen a place with room, and other evaluations go there too.
std::filesystem::path cache_folder(const std::string& asked, const std::string& out) {
  if (asked == "none") return {};
  return asked.empty() ? (std::filesystem::absolute(out) / ".." / "dinoxx_features").lexically_normal() : std::filesystem::path(asked);
}

Split parse_split(const std::string& text) {
  if (text == "test") return Split::kTest;
  if (text == "val") return Split::kVal;
  fail_usage("--split", "test or val", fmt::format("\"{}\"", text), "The memory is always train.");
}

Line parse(int argc, char** argv) {
  Line line;
  eval::EvaluateOptions& options = line.options;
  std::string out, suites, baselines, split, cache;
  double cache_limit = 0;
  int sweep_views = 0;
  po::options_description own("options", 140, 70);
  own.add_options()("out", po::value(&out)->value_name("DIR"), "where results.json goes")(
      "suite", po::value(&suites)->default_value("knn")->value_name("STEP[,...]|ladder"), "what to evaluate by")(
      "split", po::value(&split)->value_name("test|val"), "the queries; without it test, else val, else a tenth of train")(
      "baselines", po::value(&baselines)->default_value("untrained,raw")->value_name("NAMES|none"),
      "scored beside: a network of the same shape before training, raw pixels")(
      "sweep-views", po::value(&sweep_views)->default_value(eval::kSweepViews)->value_name("N"),
      "random crops of each training image that the sweep's heads learn from; 0: the evaluation's crop alone, no augmentation")(
      "seed", po::value(&options.seed)->default_value(options.seed)->value_name("N"),
      "of all that is drawn: folds, few-shot draws, restarts, the order and crops of training, copies, resamples");
  own.add_options()("cache", po::value(&cache)->value_name("DIR|none"),
                    "where features stay for the next evaluation of the same weights and images; without it dinoxx_features beside --out")(
      "cache-limit",
      po::value(&cache_limit)->default_value(static_cast<double>(eval::FeatureCache::kDefaultLimit) / kGigabyte)->value_name("GB"),
      "size of that folder; what was not used for longest goes")("quiet,q", po::bool_switch(&line.quiet), "no progress on standard error");
  FinetuneLine finetune;
  finetune.add_to(own);
  const ModelOptions model = parse_model_options(argc, argv, "eval", own, {"eval.knn_k"});
  if (!model.help.empty()) {
    std::ostringstream text;
    text << kUsage;
    for (const eval::Step& step : eval::ladder()) text << fmt::format("  {:<9}{}; cost: {}\n", step.name, step.what, step.cost);
    text << kMore << "\n" << model.help;
    line.help = text.str();
    return line;
  }
  require_option("eval", out, "--out", "a folder for results.json");
  apply_model_options(model, argc, argv, options);
  options.out = out;
  options.suites = eval::parse_names(suites, eval::suite_names(), "--suite");
  options.baselines = eval::parse_names(baselines, eval::baseline_names(), "--baselines", /*may_be_empty=*/true);
  if (!split.empty()) options.split = parse_split(split);
  if (sweep_views < 0) fail_usage("--sweep-views", "0 or more", std::to_string(sweep_views), "Correct it.");
  options.sweep_views = sweep_views;
  options.finetune = finetune.options();
  if (!(cache_limit > 0 && cache_limit < 1e9))
    fail_usage("--cache-limit", "gigabytes", fmt::format("{}", cache_limit), "To keep nothing: --cache none.");
  options.cache = cache_folder(cache, out);
  options.cache_limit = static_cast<uint64_t>(cache_limit * kGigabyte);
  if (!model.settings.empty()) {
    Config config = default_config();
    apply_settings(config, model.settings);
    options.knn.ks.assign(config.eval.knn_k.begin(), config.eval.knn_k.end());
  }
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
    line.options.finetune.progress = !line.quiet;
    Waiting waiting;
    if (mpi.rank() == 0) {
      if (!line.quiet) line.options.progress = [&](const std::string& text) { waiting.show("eval: " + text); };
      line.options.progress_seconds = waiting.terminal() ? 0.5 : 8;
      line.options.say = [&](const std::string& text) { waiting.say(text); };
    }
    const nlohmann::json results = eval::evaluate(line.options, *comm);
    waiting.clear();
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
