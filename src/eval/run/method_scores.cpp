#include "method_scores.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "eval/classify/units.hpp"
#include "eval/features/blocks.hpp"
#include "eval/statistics/metrics.hpp"
#include "eval/statistics/resampling.hpp"
#include "eval/statistics/statistics.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr int kClassesForTop5 = 10;
constexpr int kTop = 5;

// A share with its Wilson interval.
void put_share(json& object, const char* key, const char* interval_key, int64_t part, int64_t all, const Stat& stat) {
  put(object, key, stat);
  if (all == 0) return;
  const auto [low, high] = wilson_interval(part, all);
  object[interval_key] = json::array({low, high});
}

json class_table(const Dataset& dataset, const EvalData& data, const Tally& t, const std::vector<int64_t>& memory, const Ranking* ranking) {
  json table = json::array();
  for (int c = 0; c < data.classes; ++c) {
    json row = {{"name", class_name(dataset, c)},
                {"memory", memory[c]},
                {"queries", t.support[c]},
                {"predicted", t.predicted[c]},
                {"correct", t.correct[c]}};
    put_share(row, "recall", "interval95", t.correct[c], t.support[c], recall(t, c));
    put_share(row, "precision", "precision95", t.correct[c], t.predicted[c], precision(t, c));
    put(row, "f1", f1(t, c));
    if (ranking) {
      put(row, "auroc", ranking->auroc[c]);
      put(row, "auprc", ranking->auprc[c]);
    }
    table.push_back(std::move(row));
  }
  return table;
}

// Share of rows whose label is among the five most probable classes; equal: the lower class.
double top5(std::span<const int32_t> labels, std::span<const double> probabilities, int classes) {
  int64_t hits = 0;
  for (size_t q = 0; q < labels.size(); ++q) {
    const double* row = probabilities.data() + q * classes;
    int before = 0;
    for (int c = 0; c < classes; ++c) before += row[c] > row[labels[q]] || (row[c] == row[labels[q]] && c < labels[q]);
    hits += before < kTop;
  }
  return static_cast<double>(hits) / static_cast<double>(labels.size());
}

json worst_class(const Dataset& dataset, const Tally& t) {
  int worst = -1;
  for (int c = 0; c < static_cast<int>(t.support.size()); ++c) {
    if (t.support[c] == 0) continue;
    if (worst < 0 || *recall(t, c).value < *recall(t, worst).value) worst = c;
  }
  if (worst < 0) return nullptr;
  return {{"name", class_name(dataset, worst)}, {"recall", *recall(t, worst).value}, {"queries", t.support[worst]}};
}

// What happened at all: each pair of a class and an answer with the number of queries.
json confusion_counts(const Dataset& dataset, const EvalData& data, const std::vector<int32_t>& answers) {
  std::map<std::pair<int32_t, int32_t>, int64_t> counts;
  for (size_t q = 0; q < answers.size(); ++q) ++counts[{data.query_labels[q], answers[q]}];
  json pairs = json::array();
  for (const auto& [pair, images] : counts)
    if (pair.first >= 0 && pair.second >= 0)
      pairs.push_back({{"class", class_name(dataset, pair.first)}, {"predicted", class_name(dataset, pair.second)}, {"images", images}});
  return pairs;
}

// 1 for each query that has the right answer, else 0.
std::vector<int8_t> right_or_wrong(const EvalData& data, const std::vector<int32_t>& answers) {
  std::vector<int8_t> right(answers.size());
  for (size_t q = 0; q < answers.size(); ++q) right[q] = answers[q] == data.query_labels[q];
  return right;
}

}  // namespace

json method_scores(const Dataset& dataset, const EvalData& data, const Prediction& prediction) {
  const Tally t = tally(data.query_labels, prediction.classes, data.classes);
  const std::vector<int64_t> memory = class_counts(data.memory_labels, data.classes);
  int64_t correct = 0;
  for (const int64_t n : t.correct) correct += n;
  json scores = prediction.details.is_null() ? json::object() : prediction.details;
  scores["count"] = t.count;
  scores["correct"] = correct;
  put_share(scores, "accuracy", "interval95", correct, t.count, accuracy(t));
  put(scores, "balanced_accuracy", balanced_accuracy(t));
  put(scores, "macro_f1", macro_f1(t));
  if (std::count_if(t.support.begin(), t.support.end(), [](int64_t n) { return n > 0; }) == 1) {
    const Stat none = Stat::undefined("all test images are of one class: always predicting it would be right");
    for (const char* key : {"accuracy", "balanced_accuracy", "macro_f1"}) put(scores, key, none);
    scores.erase("interval95");
  }
  put(scores, "mcc", matthews(t));
  const ShotRecall by_count = recall_by_training_count(t, memory);
  put(scores, "recall_many", by_count.many);
  put(scores, "recall_medium", by_count.medium);
  put(scores, "recall_few", by_count.few);
  scores["classes_many_medium_few"] = {by_count.classes_many, by_count.classes_medium, by_count.classes_few};
  scores["worst_class"] = worst_class(dataset, t);
  scores["confusion"] = confusion_counts(dataset, data, prediction.classes);
  if (prediction.probabilities.empty()) {
    const Stat none = Stat::undefined("the method predicts a class without probabilities");
    put(scores, "auroc", none);
    put(scores, "auprc", none);
    scores["classes"] = class_table(dataset, data, t, memory, nullptr);
    return scores;
  }
  const Ranking ranking = one_against_rest(data.query_labels, prediction.probabilities, data.classes);
  put(scores, "auroc", ranking.macro_auroc);
  put(scores, "auprc", ranking.macro_auprc);
  scores["ranking_classes_left_out"] = ranking.left_out.size();
  if (data.classes >= kClassesForTop5) scores["top5"] = top5(data.query_labels, prediction.probabilities, data.classes);
  scores["classes"] = class_table(dataset, data, t, memory, &ranking);
  return scores;
}

at::Tensor resampled_columns(const Resampler& resampler, std::span<const int32_t> labels,
                             std::span<const std::vector<int32_t>* const> predictions, int classes, int threads, Communicator& comm) {
  const auto methods = static_cast<int64_t>(predictions.size());
  const at::Tensor rows = run_tasks(comm, kResamples, methods * kResampledScores, threads, [&](int64_t task, double* row) {
    const std::vector<uint32_t> counts = resampler.counts(task);
    for (int64_t m = 0; m < methods; ++m) {
      const auto scores = resampled_scores(labels, *predictions[m], counts, classes);
      std::copy(scores.begin(), scores.end(), row + m * kResampledScores);
    }
  });
  return rows.t().contiguous();
}

BootstrapReport bootstrap_methods(const Dataset& dataset, const EvalData& data, std::span<const std::vector<int32_t>* const> predictions,
                                  std::span<const MethodPair> pairs, uint64_t seed, int threads, Communicator& comm) {
  const Resampler resampler(data.query_labels, groups_of(dataset, data.queries), data.classes, seed);
  const auto methods = static_cast<int64_t>(predictions.size());
  const at::Tensor columns = resampled_columns(resampler, data.query_labels, predictions, data.classes, threads, comm);
  const auto column = [&](size_t method, int score) {
    const double* begin = columns.data_ptr<double>() + (method * kResampledScores + score) * kResamples;
    return std::vector<double>(begin, begin + kResamples);
  };
  BootstrapReport report;
  report.by_group = resampler.by_group();
  report.protocol = {{"resamples", kResamples},
                     {"seed", seed},
                     {"interval", "percentile, 2.5 to 97.5 %"},
                     {"drawn", resampler.by_group() ? "whole groups of test images" : "test images, each class as many as it has"}};
  for (int64_t m = 0; m < methods; ++m) {
    json intervals = json::object();
    for (int s = 0; s < kResampledScores; ++s) put(intervals, kResampledNames[s], percentile_interval(column(m, s)));
    report.intervals.push_back(std::move(intervals));
    report.interval_notes.push_back(note_on_spread(data.query_labels, right_or_wrong(data, *predictions[m]), data.classes));
  }
  for (const MethodPair& pair : pairs) {
    json differences = json::object();
    for (int s = 0; s < kResampledScores; ++s) {
      std::vector<double> difference = column(pair.first, s);
      const std::vector<double> second = column(pair.second, s);
      for (size_t r = 0; r < difference.size(); ++r) difference[r] -= second[r];
      put(differences, kResampledNames[s], percentile_interval(std::move(difference)));
    }
    report.differences.push_back(std::move(differences));
    std::vector<int8_t> one_or_other = right_or_wrong(data, *predictions[pair.first]);
    const std::vector<int8_t> second = right_or_wrong(data, *predictions[pair.second]);
    for (size_t q = 0; q < second.size(); ++q) one_or_other[q] = static_cast<int8_t>(one_or_other[q] - second[q]);
    report.difference_notes.push_back(note_on_spread(data.query_labels, one_or_other, data.classes));
  }
  return report;
}

}  // namespace dinoxx::eval
