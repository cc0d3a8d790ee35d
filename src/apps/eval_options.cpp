#include "eval_options.hpp"

#include <utility>

#include "dinoxx/base/error.hpp"
#include "eval/run/eval_config.hpp"

namespace dinoxx {
namespace {

namespace po = boost::program_options;

constexpr double kGigabyte = 1e9;
constexpr std::pair<const char*, const char*> kOldOptions[] = {{"--suite", "--protocol"}, {"--sweep-views", "--linear-probe-views"}};

Split parse_split(const std::string& text) {
  if (text == "test") return Split::kTest;
  if (text == "val") return Split::kVal;
  fail_usage("--split", "test or val", fmt::format("\"{}\"", text), "The memory is always train.");
}

}  // namespace

std::filesystem::path cache_folder(const std::string& asked, const std::filesystem::path& beside) {
  if (asked == "none") return {};
  return asked.empty() ? (beside / "dinoxx_features").lexically_normal() : std::filesystem::path(asked);
}

void EvalLine::add_to(po::options_description& own, eval::EvaluateOptions& options) {
  own.add_options()("out", po::value(&out_)->value_name("DIR"),
                    "where results.json goes; of several checkpoints a folder for each, comparison.json and comparison.html")(
      "protocol", po::value(&protocols_)->value_name("NAME[,...]|all"),
      "what to evaluate by; without it knn, of images with several labels multi_label")(
      "split", po::value(&split_)->value_name("test|val"), "the queries; without it test, else val, else a tenth of train")(
      "label", po::value(&options.labels.column)->value_name("COLUMN"),
      "the column of labels to predict, where DATA has several (a list with label, label_site ...): site or label_site; without it the "
      "first")(
      "labels", po::value(&options.labels.several)->value_name("NAMES|all"),
      "labels of which an image may have several, with commas between, for the protocol multi_label: of a column of lists, or columns "
      "of yes and no; without it all of them")(
      "merge-class-names", po::bool_switch(&options.labels.merge_names),
      "classes whose names differ only in case, blanks, hyphens, underscores or the form of accents are one")(
      "ordered", po::value(&options.ordered)->value_name("NAMES|numbers"),
      "the classes have an order, such as grades: all names from the lowest to the highest with commas between, or numbers where the names "
      "end in numbers; adds quadratic kappa and errors in ranks")(
      "by", po::value(&options.by)->composing()->value_name("COLUMN"),
      "scores also by subgroup: of the test images of each site, device, sex ... of this column of labels; may be given again")(
      "baselines", po::value(&baselines_)->value_name("NAMES|none"),
      "scored beside: a network of the same shape before training, raw pixels; without it untrained,raw, of several checkpoints none")(
      "linear-probe-views", po::value(&linear_probe_views_)->default_value(eval::kProbeViews)->value_name("N"),
      "random crops of each training image that the linear probe learns from; 0: the evaluation's crop alone, no augmentation")(
      "seed", po::value(&options.seed)->default_value(options.seed)->value_name("N"),
      "of all that is drawn: folds, few-shot draws, restarts, the order and crops of training, distorted copies, resamples");
  own.add_options()("cache", po::value(&cache_)->value_name("DIR|none"),
                    "where features stay for the next evaluation of the same weights and images; without it dinoxx_features beside --out")(
      "cache-limit",
      po::value(&cache_limit_)->default_value(static_cast<double>(eval::FeatureCache::kDefaultLimit) / kGigabyte)->value_name("GB"),
      "size of that folder; the least recently used features are removed first")("quiet,q", po::bool_switch(&quiet_),
                                                                                 "no progress on standard error");
  readout_.add_to(own);
  decision_.add_to(own);
  finetune_.add_to(own);
}

void EvalLine::apply_to(eval::EvaluateOptions& options, const std::vector<Setting>& settings, bool several) {
  if (baselines_.empty()) baselines_ = several ? "none" : "untrained,raw";
  options.out = out_;
  if (!protocols_.empty())
    options.protocols =
        eval::parse_protocols(protocols_, eval::protocol_names(), "--protocol", [&](const std::string& note) { notes_.push_back(note); });
  options.baselines = eval::parse_names(baselines_, eval::baseline_names(), "--baselines", /*may_be_empty=*/true);
  if (!split_.empty()) options.split = parse_split(split_);
  if (linear_probe_views_ < 0) fail_usage("--linear-probe-views", "0 or more", std::to_string(linear_probe_views_), "Correct it.");
  options.linear_probe_views = linear_probe_views_;
  options.readout = readout_.readout();
  options.finetune = finetune_.options();
  options.decision = decision_.request();
  if (!(cache_limit_ > 0 && cache_limit_ < 1e9))
    fail_usage("--cache-limit", "gigabytes", fmt::format("{}", cache_limit_), "To keep nothing: --cache none.");
  options.cache = cache_folder(cache_, std::filesystem::absolute(out_) / "..");
  options.cache_limit = static_cast<uint64_t>(cache_limit_ * kGigabyte);
  if (settings.empty()) return;
  Config config = default_config();
  apply_settings(config, settings);
  options.knn.ks.assign(config.eval->knn_k.begin(), config.eval->knn_k.end());
}

std::vector<std::string> EvalLine::renewed(int argc, char** argv) {
  std::vector<std::string> line(argv, argv + argc);
  for (std::string& word : line) {
    for (const auto& [old, today] : kOldOptions) {
      const std::string name = word.substr(0, word.find('='));
      if (name != old) continue;
      word = today + word.substr(name.size());
      notes_.push_back(fmt::format("{} is now called {}; the old name will go with the next release", old, today));
    }
  }
  return line;
}

}  // namespace dinoxx
