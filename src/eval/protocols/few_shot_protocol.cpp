// How much K labelled images per class give, over seeded draws.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "eval/classify/folds.hpp"
#include "eval/classify/logistic.hpp"
#include "eval/classify/nearest_mean.hpp"
#include "eval/classify/units.hpp"
#include "eval/features/blocks.hpp"
#include "eval/run/protocols.hpp"
#include "eval/statistics/resampling.hpp"
#include "few_shot_parts.hpp"
#include "logistic_parts.hpp"
#include "more_images.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr int64_t kShots[] = {1, 2, 4, 8, 16, 32};
constexpr int64_t kDraws = 10;
// Fixed: with one image per class there is nothing to choose it on (Tian et al. 2020: C = 1 on normalised features).
constexpr double kC = 1.0;
// Scores of queries and classes that are in memory at a time, of each thread.
constexpr int64_t kScoresAtOnce = int64_t{1} << 24;

constexpr int kMethods = 3;
constexpr const char* kNames[kMethods] = {"nearest_mean", "simpleshot", "logistic"};

Prepared prepare(const ProtocolInput& input) {
  const SplitFeatures& f = input.features;
  const at::Tensor centre = memory_mean(input);
  return {f.memory, f.queries, centre_and_normalize(f.memory, centre), centre_and_normalize(f.queries, centre)};
}

std::vector<int32_t> pick(std::span<const int32_t> labels, const std::vector<int64_t>& rows) {
  std::vector<int32_t> result;
  result.reserve(rows.size());
  for (const int64_t row : rows) result.push_back(labels[row]);
  return result;
}

at::Tensor index_of(const std::vector<int64_t>& rows) {
  return at::tensor(rows, at::kLong);
}

// The answers of one method that learns from `rows` of the memory.
std::vector<int32_t> classify(const ProtocolInput& input, const Prepared& prepared, int method, const std::vector<int64_t>& rows) {
  const std::vector<int32_t> labels = pick(input.data.memory_labels, rows);
  const bool centred = method == 1;
  const int classes = input.data.classes;
  const at::Tensor support = (centred ? prepared.centred_memory : prepared.memory).index_select(0, index_of(rows));
  const at::Tensor& queries = centred ? prepared.centred_queries : prepared.queries;
  std::optional<LinearModel> model;
  if (method == 2) model = LogisticRegression(support, labels, classes).fit(kC, {.tolerance = 1e-8}).model;
  std::vector<int32_t> answers;
  const int64_t at_once = std::max<int64_t>(kScoresAtOnce / classes, 1);
  for (int64_t first = 0; first < queries.size(0); first += at_once) {
    const at::Tensor some = queries.narrow(0, first, std::min(at_once, queries.size(0) - first));
    const std::vector<int32_t> theirs = predict(model ? model->logits(some) : nearest_mean_scores(support, labels, classes, some));
    answers.insert(answers.end(), theirs.begin(), theirs.end());
  }
  return answers;
}

// Mean, spread and t interval of a score over draws.
json over_draws(const std::vector<double>& values) {
  std::vector<double> defined = values;
  std::erase_if(defined, [](double v) { return std::isnan(v); });
  json result = json::object();
  if (defined.empty()) {
    put(result, "mean", Stat::undefined("undefined in every draw"));
    return result;
  }
  const MeanInterval interval = t_interval(defined);
  result = {{"mean", interval.mean},
            {"values", values},  // of each draw: the draws are the same for all features, so that differences can be taken draw by draw
            {"deviation", interval.deviation},
            {"min", *std::min_element(defined.begin(), defined.end())},
            {"max", *std::max_element(defined.begin(), defined.end())}};
  if (interval.half_width.value) {
    result["interval95"] = {interval.mean - *interval.half_width.value, interval.mean + *interval.half_width.value};
  } else {
    put(result, "interval95", interval.half_width);
  }
  return result;
}

std::string too_large(double size) {
  return fmt::format("a fit would take {:.1e} multiplications an iteration, more than {:.1e}", size, kLargestFit);
}

// Images of each class, copies counted once.
std::vector<int64_t> distinct_counts(const EvalData& data, const std::vector<bool>& distinct) {
  std::vector<int64_t> counts(static_cast<size_t>(data.classes));
  for (size_t row = 0; row < distinct.size(); ++row) counts[static_cast<size_t>(data.memory_labels[row])] += distinct[row];
  return counts;
}

json shots_curve(const ProtocolInput& input, const Prepared& prepared) {
  const EvalData& data = input.data;
  const std::vector<bool> distinct = first_copies(input.dataset, data.memory);
  const std::vector<uint64_t> units = units_of(input.dataset, data.memory);
  const std::vector<int64_t> counts = distinct_counts(data, distinct);
  const int64_t largest = *std::max_element(counts.begin(), counts.end());
  const auto present = static_cast<double>(std::count_if(counts.begin(), counts.end(), [](int64_t n) { return n > 0; }));
  std::vector<int64_t> shots;
  for (const int64_t k : kShots)
    if (k < largest) shots.push_back(k);
  const auto fit_of = [&](int64_t k) {
    double images = 0;
    for (const int64_t n : counts) images += static_cast<double>(std::min(n, k));
    return size_of_fit(images, present, static_cast<double>(input.embedder.dim));
  };
  constexpr int kScores = 3;
  const std::vector<uint32_t> once(data.queries.size(), 1);
  const at::Tensor rows =
      run_tasks(input.comm, static_cast<int64_t>(shots.size()) * kDraws, kMethods * kScores, input.threads, [&](int64_t task, double* row) {
        const int64_t k = shots[task / kDraws];
        const std::vector<int64_t> chosen =
            draw_shots(data.memory, data.memory_labels, data.classes, k, input.seed, static_cast<uint64_t>(task % kDraws), distinct, units);
        for (int m = 0; m < kMethods; ++m) {
          if (m == 2 && fit_of(k) > kLargestFit) continue;
          const auto scores = resampled_scores(data.query_labels, classify(input, prepared, m, chosen), once, data.classes);
          std::copy_n(scores.begin(), kScores, row + m * kScores);  // accuracy, balanced accuracy, macro-F1
        }
      });
  json curve = json::array();
  for (size_t s = 0; s < shots.size(); ++s) {
    const int64_t k = shots[s];
    int64_t images = 0, short_of = 0;
    for (const int64_t n : counts) {
      images += std::min(n, k);
      short_of += n > 0 && n < k;
    }
    json entry = {{"shots", k}, {"draws", kDraws}, {"images", images}, {"classes_with_fewer", short_of}};
    for (int m = 0; m < kMethods; ++m) {
      json& method = entry["methods"][kNames[m]];
      if (m == 2 && fit_of(k) > kLargestFit) {
        method = {{"left_out", too_large(fit_of(k))}};
        continue;
      }
      for (int i = 0; i < kScores; ++i) {
        std::vector<double> values;
        for (int64_t draw = 0; draw < kDraws; ++draw)
          values.push_back(rows[static_cast<int64_t>(s) * kDraws + draw][m * kScores + i].item<double>());
        method[kResampledNames[i]] = over_draws(values);
      }
    }
    curve.push_back(std::move(entry));
  }
  return curve;
}

// Learning from all of the memory: one draw, so that its answers can be compared query by query.
std::vector<Prediction> all_shots(const ProtocolInput& input, const Prepared& prepared, json& left_out) {
  const EvalData& data = input.data;
  const std::vector<int64_t> counts = class_counts(data.memory_labels, data.classes);
  const auto present = static_cast<double>(std::count_if(counts.begin(), counts.end(), [](int64_t n) { return n > 0; }));
  const double size = size_of_fit(static_cast<double>(data.memory.size()), present, static_cast<double>(input.embedder.dim));
  const int methods = size > kLargestFit ? kMethods - 1 : kMethods;
  if (methods < kMethods) left_out["logistic"] = too_large(size);
  std::vector<int64_t> every(data.memory.size());
  std::iota(every.begin(), every.end(), int64_t{0});
  const int64_t queries = static_cast<int64_t>(data.queries.size());
  const at::Tensor rows = run_tasks(input.comm, methods, queries, input.threads, [&](int64_t method, double* row) {
    const std::vector<int32_t> predicted = classify(input, prepared, static_cast<int>(method), every);
    std::copy(predicted.begin(), predicted.end(), row);
  });
  std::vector<Prediction> result;
  for (int m : {1, 0, 2}) {  // SimpleShot is the headline
    if (m >= methods) continue;
    const double* row = rows.data_ptr<double>() + m * queries;
    result.push_back({kNames[m], std::vector<int32_t>(row, row + queries), {}, {{"shots", "all"}}});
  }
  return result;
}

}  // namespace

json few_shot_settings(const EvalData&, const KnnConfig&) {
  return {
      {"suite", "few"},
      {"shots", kShots},
      {"draws", kDraws},
      {"drawn",
       "K images of each class from the memory, copies of one image counted once, all of a class that has fewer; the same test images "
       "every time; fewer shots of one draw "
       "are a part of more"},
      {"nearest_mean", "Euclidean distance to the class mean of the normalised features"},
      {"simpleshot", "features minus the mean of the memory (no labels), normalised, then nearest mean"},
      {"logistic", {{"C", kC}, {"features", "normalised"}}},
      {"more_images",
       "recall of a class with more images of it, extrapolated from its own learning curve; 95 % over test and training images"},
      {"interval", "t interval over draws: it covers the choice of training images, not that of test images"},
      {"episodes", "ways classes, shots training images and up to 15 test images of each; mean recall; mean +- 1.96 s / sqrt(episodes)"},
      {"transductive", transductive_settings()},
      {"notes", json::array()}};
}

ProtocolResult few_shot_protocol(const ProtocolInput& input) {
  const Prepared prepared = prepare(input);
  ProtocolResult result;
  result.scores = json::object();
  result.scores["curve"] = shots_curve(input, prepared);
  json left_out = json::object();
  result.predictions = all_shots(input, prepared, left_out);
  if (!left_out.empty()) result.scores["left_out"] = left_out;
  if (!input.in_training) result.scores["more_images"] = more_images(input, prepared, result.predictions.front().classes);
  result.scores["episodes"] = episodes(input, prepared);
  result.scores["transductive"] = transductive_episodes(input, prepared);
  return result;
}

}  // namespace dinoxx::eval
