// How much K labelled images per class give, over seeded draws; and N-way K-shot episodes.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "dinoxx/core/rng.hpp"
#include "dinoxx/eval/blocks.hpp"
#include "dinoxx/eval/folds.hpp"
#include "dinoxx/eval/ladder.hpp"
#include "dinoxx/eval/lanes.hpp"
#include "dinoxx/eval/logistic.hpp"
#include "dinoxx/eval/nearest_mean.hpp"
#include "dinoxx/eval/resampling.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr int64_t kShots[] = {1, 2, 4, 8, 16, 32};
constexpr int64_t kDraws = 10;
constexpr int kWays = 5;
constexpr int64_t kEpisodeShots[] = {1, 5};
constexpr int64_t kEpisodeQueries = 15;  // of each class
constexpr int64_t kEpisodes = 600;
// Fixed: with one image per class there is nothing to choose it on (Tian et al. 2020: C = 1 on normalised features).
constexpr double kC = 1.0;
// Multiplications of one step of logistic regression, above which a fit would take minutes.
constexpr double kLargestFit = 4e9;

constexpr int kMethods = 3;
constexpr const char* kNames[kMethods] = {"nearest_mean", "simpleshot", "logistic"};

// The features as they are, and as SimpleShot wants them.
struct Prepared {
  at::Tensor memory, queries, centred_memory, centred_queries;
};

Prepared prepare(const StepInput& input) {
  const SplitFeatures& f = input.features;
  const at::Tensor centre = memory_mean(input);
  return {f.memory, f.queries, centre_and_normalize(f.memory, centre), centre_and_normalize(f.queries, centre)};
}

std::vector<int32_t> pick(std::span<const int32_t> labels, const std::vector<int64_t>& rows) {
  std::vector<int32_t> result;
  for (const int64_t row : rows) result.push_back(labels[row]);
  return result;
}

at::Tensor index_of(const std::vector<int64_t>& rows) {
  return at::tensor(rows, at::kLong);
}

double size_of_fit(double images, double classes, double dim) {
  return images * classes * std::min(images, dim);
}

// Scores [queries, classes] of one method that learns from `rows` of the memory.
at::Tensor classify(const StepInput& input, const Prepared& prepared, int method, const std::vector<int64_t>& rows) {
  const std::vector<int32_t> labels = pick(input.data.memory_labels, rows);
  const at::Tensor index = index_of(rows);
  const int classes = input.data.classes;
  if (method == 0) return nearest_mean_scores(prepared.memory.index_select(0, index), labels, classes, prepared.queries);
  if (method == 1) return nearest_mean_scores(prepared.centred_memory.index_select(0, index), labels, classes, prepared.centred_queries);
  LogisticRegression regression(prepared.memory.index_select(0, index), labels, classes);
  return regression.fit(kC, {.tolerance = 1e-8}).model.logits(prepared.queries);
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
  return fmt::format("a fit would take {:.1e} multiplications a step, more than {:.1e}", size, kLargestFit);
}

json shots_curve(const StepInput& input, const Prepared& prepared) {
  const EvalData& data = input.data;
  const std::vector<int64_t> counts = class_counts(data.memory_labels, data.classes);
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
            draw_shots(data.memory, data.memory_labels, data.classes, k, input.seed, static_cast<uint64_t>(task % kDraws));
        for (int m = 0; m < kMethods; ++m) {
          if (m == 2 && fit_of(k) > kLargestFit) continue;
          const auto scores = resampled_scores(data.query_labels, predict(classify(input, prepared, m, chosen)), once, data.classes);
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
std::vector<Prediction> all_shots(const StepInput& input, const Prepared& prepared, json& left_out) {
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
    const std::vector<int32_t> predicted = predict(classify(input, prepared, static_cast<int>(method), every));
    std::copy(predicted.begin(), predicted.end(), row);
  });
  std::vector<Prediction> result;
  for (int m : {1, 0, 2}) {  // SimpleShot stands for the step
    if (m >= methods) continue;
    const double* row = rows.data_ptr<double>() + m * queries;
    result.push_back({kNames[m], std::vector<int32_t>(row, row + queries), {}, {{"shots", "all"}}});
  }
  return result;
}

struct Episode {
  std::vector<int64_t> support, queries;
  std::vector<int32_t> support_labels, query_labels;  // in [0, ways)
};

// `take` of `rows`, chosen by the generator; the first places of a shuffle.
std::vector<int64_t> choose(std::vector<int64_t> rows, size_t take, CounterRng& rng) {
  for (size_t i = 0; i < take; ++i) std::swap(rows[i], rows[i + rng.below(rows.size() - i)]);
  rows.resize(take);
  return rows;
}

json episodes(const StepInput& input, const Prepared& prepared, int64_t shots, uint64_t number) {
  const EvalData& data = input.data;
  std::vector<std::vector<int64_t>> memory(data.classes), queries(data.classes);
  for (size_t i = 0; i < data.memory_labels.size(); ++i) memory[data.memory_labels[i]].push_back(static_cast<int64_t>(i));
  for (size_t i = 0; i < data.query_labels.size(); ++i) queries[data.query_labels[i]].push_back(static_cast<int64_t>(i));
  std::vector<int64_t> able;
  for (int c = 0; c < data.classes; ++c)
    if (static_cast<int64_t>(memory[c].size()) >= shots && !queries[c].empty()) able.push_back(c);
  const size_t ways = std::min<size_t>(kWays, able.size());
  json result = {
      {"ways", ways}, {"shots", shots}, {"episodes", kEpisodes}, {"queries_of_each_class", kEpisodeQueries}, {"classes", able.size()}};
  if (ways < 2) {
    result["episodes"] = 0;
    const Stat none = Stat::undefined(fmt::format("fewer than two classes have {} training images and a test image", shots));
    for (int m = 0; m < 2; ++m) put(result["methods"][kNames[m]], "accuracy", none);
    return result;
  }
  const at::Tensor rows = run_tasks(input.comm, kEpisodes, 2, input.threads, [&](int64_t task, double* row) {
    CounterRng rng(input.seed, static_cast<uint64_t>(task), lane(Lane::kEpisodes, number), Purpose::kEval);
    Episode episode;
    const std::vector<int64_t> classes = choose(able, ways, rng);
    for (size_t w = 0; w < ways; ++w) {
      for (const int64_t i : choose(memory[classes[w]], static_cast<size_t>(shots), rng)) {
        episode.support.push_back(i);
        episode.support_labels.push_back(static_cast<int32_t>(w));
      }
      const std::vector<int64_t>& of_class = queries[classes[w]];
      for (const int64_t i : choose(of_class, std::min<size_t>(of_class.size(), kEpisodeQueries), rng)) {
        episode.queries.push_back(i);
        episode.query_labels.push_back(static_cast<int32_t>(w));
      }
    }
    const at::Tensor support = index_of(episode.support), asked = index_of(episode.queries);
    for (int m = 0; m < 2; ++m) {
      const at::Tensor &from = m == 0 ? prepared.memory : prepared.centred_memory,
                       &to = m == 0 ? prepared.queries : prepared.centred_queries;
      const at::Tensor scores =
          nearest_mean_scores(from.index_select(0, support), episode.support_labels, static_cast<int>(ways), to.index_select(0, asked));
      row[m] = *balanced_accuracy(tally(episode.query_labels, predict(scores), static_cast<int>(ways))).value;
    }
  });
  for (int m = 0; m < 2; ++m) {
    std::vector<double> values;
    for (int64_t e = 0; e < kEpisodes; ++e) values.push_back(rows[e][m].item<double>());
    const MeanInterval spread = t_interval(values);
    const double half = 1.96 * spread.deviation / std::sqrt(static_cast<double>(kEpisodes));
    result["methods"][kNames[m]] = {{"accuracy", spread.mean}, {"interval95", {spread.mean - half, spread.mean + half}}};
  }
  return result;
}

}  // namespace

json few_protocol(const EvalData&, const KnnConfig&) {
  return {
      {"suite", "few"},
      {"shots", kShots},
      {"draws", kDraws},
      {"drawn",
       "K images of each class from the memory, all of a class that has fewer; the same test images every time; fewer shots of one draw "
       "are a part of more"},
      {"nearest_mean", "Euclidean distance to the class mean of the normalised features"},
      {"simpleshot", "features minus the mean of the memory (no labels), normalised, then nearest mean"},
      {"logistic", {{"C", kC}, {"features", "normalised"}}},
      {"interval", "t interval over draws: it covers the choice of training images, not that of test images"},
      {"episodes", "ways classes, shots training images and up to 15 test images of each; mean recall; mean +- 1.96 s / sqrt(episodes)"},
      {"notes", json::array()}};
}

StepResult few_step(const StepInput& input) {
  const Prepared prepared = prepare(input);
  StepResult result;
  result.scores = json::object();
  result.scores["curve"] = shots_curve(input, prepared);
  json left_out = json::object();
  result.predictions = all_shots(input, prepared, left_out);
  if (!left_out.empty()) result.scores["left_out"] = left_out;
  result.scores["episodes"] = json::array();
  for (size_t i = 0; i < std::size(kEpisodeShots); ++i) result.scores["episodes"].push_back(episodes(input, prepared, kEpisodeShots[i], i));
  return result;
}

}  // namespace dinoxx::eval
