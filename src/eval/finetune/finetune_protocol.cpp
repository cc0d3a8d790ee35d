// Light fine-tuning as a protocol. What it learns from is the memory, what it chooses by is a validation split or a part of the
// memory; the queries are answered once, at the end, and their labels are never read here.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "dinoxx/base/error.hpp"
#include "eval/features/blocks.hpp"
#include "eval/run/progress.hpp"
#include "eval/statistics/calibration.hpp"
#include "finetune_parts.hpp"
#include "ops/ops.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

// Forward and backward of an image against forward alone.
constexpr double kBackwardFactor = 3;

// The caller's ATen threads come back at the end.
class ThreadCount {
 public:
  explicit ThreadCount(int threads) : before_(at::get_num_threads()) { at::set_num_threads(threads); }
  ~ThreadCount() { at::set_num_threads(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

// An untrained network has nothing that adapters could adapt: what it is compared by is training everything.
std::vector<std::string> methods_for(const ProtocolInput& input, const std::vector<std::string>& asked) {
  if (input.embedder.name != "untrained" || std::find(asked.begin(), asked.end(), "full") == asked.end()) return asked;
  return {"full"};
}

double estimate_minutes(const ProtocolInput& input, const FinetuneOptions& options, const TuneData& data, size_t methods,
                        double seconds_of_image) {
  const double trained = static_cast<double>(data.train.size()) * options.epochs,
               judged =
                   (static_cast<double>(data.validation.size()) * (options.epochs + 1) + static_cast<double>(input.data.queries.size())) /
                   kBackwardFactor;
  const double rates = static_cast<double>(std::max<size_t>(1, options.lr.size()));
  return static_cast<double>(methods) * rates * (trained + judged) * seconds_of_image / 60;
}

// Timed and decided for the first network. The others have its shape, and a protocol that runs for one of two compares nothing.
FinetuneOffer decide(const ProtocolInput& input, const FinetuneOptions& options, const TuneData& data, size_t methods) {
  if (input.finetune_offer && *input.finetune_offer) return **input.finetune_offer;
  FinetuneOffer offer{seconds_per_image(input, options, data), false};
  offer.runs = estimate_minutes(input, options, data, methods, offer.seconds_per_image) <= options.max_minutes;
  if (input.finetune_offer) *input.finetune_offer = offer;
  return offer;
}

json settings(const FinetuneOptions& o, const ProtocolInput& input) {
  return {{"epochs_at_most", o.epochs},
          {"patience", o.patience},
          {"batch", o.batch},
          {"loss", o.loss},
          {"sampler", o.sampler},
          {"ema", o.ema},
          {"layer_decay", o.layer_decay},
          {"lora", {{"rank", o.rank}, {"alpha", o.alpha}, {"targets", o.targets}}},
          {"augmentation", describe_crops(*input.images, o.crop)}};
}

// The method with the best rate of those tried.
struct Tuned {
  std::unique_ptr<TunedNetwork> network;
  Tuning tuning;
  json tried = json::array();
};

Tuned tune_method(const ProtocolInput& input, const FinetuneOptions& options, const TuningMethod& method, const TuneData& data,
                  const TunedHead& head) {
  Tuned best;
  double seconds = 0;
  std::vector<double> rates = options.lr;
  if (rates.empty()) rates.push_back(method.lr);
  for (const double lr : rates) {
    auto network =
        std::make_unique<TunedNetwork>(*input.embedder.network, method, LoraOptions{options.rank, options.alpha, options.targets}, head,
                                       input.images->transform.crop, input.seed);
    Tuning tuning = tune(input, options, method, lr, data, *network);
    seconds += tuning.seconds;
    best.tried.push_back({{"lr", lr}, {"mean_recall", tuning.best.recall}, {"loss", tuning.best.loss}, {"epoch", tuning.best_epoch}});
    if (best.network && !tuning.best.better_than(best.tuning.best)) continue;
    best.network = std::move(network);
    best.tuning = std::move(tuning);
  }
  best.tuning.seconds = seconds;
  return best;
}

Prediction conclude(const ProtocolInput& input, const FinetuneOptions& options, const TuningMethod& method, const TuneData& data,
                    const Tuned& tuned, double probe_c) {
  const TunedNetwork& network = *tuned.network;
  const Tuning& tuning = tuned.tuning;
  const int classes = input.data.classes;
  progress_phase(fmt::format("answers of {} by {}", input.embedder.name, method.name));
  const at::Tensor logits = tuned_logits(input, network, input.data.queries);
  Prediction prediction;
  prediction.method = method.name;
  prediction.probabilities = tuned_probabilities(logits, data, classes);
  for (size_t q = 0; q < input.data.queries.size(); ++q) {
    const double* row = prediction.probabilities.data() + q * static_cast<size_t>(classes);
    prediction.classes.push_back(static_cast<int32_t>(std::max_element(row, row + classes) - row));
  }
  json& details = prediction.details;
  details["what"] = method.what;
  details["trainable"] = network.trainable_count();
  details["trainable_share"] = static_cast<double>(network.trainable_count()) / static_cast<double>(network.total_count());
  details["lr"] = tuning.lr;
  details["rates_tried"] = tuned.tried;
  details["head_lr_factor"] = method.head_lr;
  details["weight_decay"] = method.weight_decay;
  if (method.probe_head) details["probe_C"] = probe_c;
  details["epoch"] = tuning.best_epoch;
  details["validation"] = {{"mean_recall", tuning.best.recall}, {"loss", tuning.best.loss}};
  details["epochs"] = tuning.epochs;
  put(details, "temperature", tuning.temperature);
  std::vector<double> scaled;
  if (tuning.temperature.value) scaled = tuned_probabilities(logits / *tuning.temperature.value, data, classes);
  details["calibration"] = describe_calibration(input.data.query_labels, prediction.probabilities, scaled, tuning.temperature, classes);
  details["stopped_early"] = static_cast<int>(tuning.epochs.size()) <= options.epochs;
  if (tuning.diverged) details["diverged"] = "diverged: a logit was NaN or infinite; the weights of the best epoch before that are used";
  if (tuning.best_epoch == 0) details["note"] = "no epoch improved on the start on validation: the weights of the start are used";
  return prediction;
}

}  // namespace

const std::vector<std::string>& finetune_losses() {
  static const std::vector<std::string> names{"cross_entropy", "class_balanced", "logit_adjusted", "focal"};
  return names;
}

const std::vector<std::string>& finetune_samplers() {
  static const std::vector<std::string> names{"plain", "class_balanced", "repeat_factor"};
  return names;
}

const std::vector<std::string>& finetune_saves() {
  static const std::vector<std::string> names{"none", "changed", "merged"};
  return names;
}

json finetune_settings(const EvalData&, const KnnConfig&) {
  return {{"suite", "finetune"},
          {"method", "the network with a linear head, AdamW, cosine rate after an epoch of warm-up; the best epoch on validation answers"},
          {"criterion", "mean recall on validation, equal: less cross-entropy; epoch 0 is the start"},
          {"notes", json::array()}};
}

ProtocolResult finetune_protocol(const ProtocolInput& input) {
  const FinetuneOptions options = input.finetune ? *input.finetune : FinetuneOptions{};
  ProtocolResult result;
  result.scores = json::object();
  if (!input.embedder.network) {
    result.scores["left_out"] = "raw pixels have no weights to fine-tune";
    return result;
  }
  const ThreadCount threads(input.threads);
  const TuneData data = plan_tuning(input);
  if (!data.why_not.empty()) {
    result.scores["left_out"] = data.why_not;
    return result;
  }
  const std::vector<std::string> methods = methods_for(input, options.methods.empty() ? tuning_names() : options.methods);
  if (!options.by_name) {
    const FinetuneOffer offer = decide(input, options, data, methods.size());
    result.run["estimate_minutes"] = estimate_minutes(input, options, data, methods.size(), offer.seconds_per_image);
    if (!offer.runs) {
      result.scores["left_out"] = fmt::format(
          "it would take more than --finetune.max_minutes {:g} on this machine; --protocol finetune runs it", options.max_minutes);
      result.scores["offered"] = true;
      return result;
    }
  }
  result.scores["settings"] = settings(options, input);
  json& selection = result.scores["selection"];
  selection = {{"by", data.by},
               {"images", data.validation.size()},
               {"classes", std::count_if(data.support.begin(), data.support.end(), [](int64_t n) { return n > 0; })},
               {"training_images", data.train.size()}};

  const TunedHead zero = zero_head(input, data);
  std::optional<ProbeHead> probe;
  TuneScore best;
  for (const std::string& name : methods) {
    const TuningMethod& method = tuning_method(name);
    if (method.probe_head && !probe) probe = fit_probe(input, data, zero);
    const TunedHead head = method.probe_head ? probe->head : zero;
    Tuned tuned;
    try {  // the same on all ranks, and before the first collective
      tuned = tune_method(input, options, method, data, head);
    } catch (const UsageError& error) {
      result.scores["left_out_methods"][name] = error.what();
      continue;
    }
    result.predictions.push_back(conclude(input, options, method, data, tuned, probe ? probe->c : 0));
    if (result.predictions.size() == 1 || tuned.tuning.best.better_than(best)) {
      best = tuned.tuning.best;
      selection["best_method"] = name;
    }
    result.run[name] = {{"seconds", tuned.tuning.seconds},
                        {"images_per_second", tuned.tuning.seconds > 0 ? tuned.tuning.images / tuned.tuning.seconds : 0.0}};
    if (input.embedder.name == "teacher")
      for (ProtocolFile& file : tuned_files(input.dataset, options, method, data, *input.images, *tuned.network, tuned.tuning))
        result.files.push_back(std::move(file));
  }
  if (result.predictions.empty()) result.scores["left_out"] = "none of the methods applies to this network";
  ops::release_cached_memory();
  return result;
}

}  // namespace dinoxx::eval
