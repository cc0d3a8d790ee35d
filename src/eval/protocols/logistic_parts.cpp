#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "eval/classify/folds.hpp"
#include "eval/classify/logistic.hpp"
#include "eval/features/blocks.hpp"
#include "eval/statistics/resampling.hpp"
#include "logistic_parts.hpp"

namespace dinoxx::eval {

using nlohmann::json;

namespace {

constexpr int kInnerFolds = 3, kRepeats = 5;

// Mean recall of the plain variant on one outer fold, C chosen on inner folds of the rest. NaN when the fold is empty.
double nested_score(const Part& part, const std::vector<uint64_t>& ids, const std::vector<uint64_t>& groups, int classes, uint64_t seed) {
  if (part.test_labels.empty()) return std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> cs = values_of_c();
  const std::vector<int> inner = stratified_folds(ids, part.train_labels, groups, classes, kInnerFolds, seed);
  std::vector<std::vector<double>> correct(kSteps, std::vector<double>(classes));
  std::vector<int64_t> support(classes);
  for (int fold = 0; fold < kInnerFolds; ++fold) {
    const Part tried = part_of(part.train, part.train_labels, inner, fold, classes);
    if (tried.test_labels.empty()) continue;
    for (const int32_t label : tried.test_labels) ++support[label];
    LogisticRegression regression(tried.train, tried.train_labels, classes);
    for (int step = 0; step < kSteps; ++step)
      count_correct(tried.test_labels, predict(regression.fit(cs[step], {.tolerance = kPathTolerance}).model.logits(tried.test)),
                    correct[step].data());
  }
  double c = 1;
  if (std::any_of(support.begin(), support.end(), [](int64_t n) { return n > 0; })) {
    std::vector<double> path;
    for (const std::vector<double>& of_step : correct) path.push_back(mean_recall(of_step, support));
    c = cs[best_of(path)];
  }
  LogisticRegression regression(part.train, part.train_labels, classes);
  const Tally t = tally(part.test_labels, predict(regression.fit(c, {.tolerance = kTolerance}).model.logits(part.test)), classes);
  return *balanced_accuracy(t).value;
}

}  // namespace

double size_of_fit(double images, double classes, double dim) {
  return images * classes * (std::min(images, dim) + 32);
}

std::vector<double> values_of_c() {
  return logarithmic_steps(kLowestC, kHighestC, kSteps);
}

Part part_of(const at::Tensor& features, std::span<const int32_t> labels, const std::vector<int>& fold_of, int fold, int classes) {
  std::vector<int64_t> train, test;
  Part part;
  for (size_t row = 0; row < fold_of.size(); ++row) {
    const bool tried = fold_of[row] == fold;
    (tried ? test : train).push_back(static_cast<int64_t>(row));
    (tried ? part.test_labels : part.train_labels).push_back(labels[row]);
  }
  part.train = features.index_select(0, at::tensor(train, at::kLong));
  part.test = features.index_select(0, at::tensor(test, at::kLong));
  part.train_counts = class_counts(part.train_labels, classes);
  return part;
}

void count_correct(const std::vector<int32_t>& labels, const std::vector<int32_t>& predictions, double* correct) {
  for (size_t i = 0; i < labels.size(); ++i) correct[labels[i]] += labels[i] == predictions[i];
}

double mean_recall(std::span<const double> correct, std::span<const int64_t> support) {
  double sum = 0, present = 0;
  for (size_t c = 0; c < support.size(); ++c) {
    if (support[c] == 0) continue;
    sum += correct[c] / static_cast<double>(support[c]);
    ++present;
  }
  return sum / present;
}

int best_of(std::span<const double> values) {
  return static_cast<int>(std::max_element(values.begin(), values.end()) - values.begin());
}

std::vector<uint64_t> groups_of(const Dataset& dataset, const std::vector<uint64_t>& ids) {
  std::vector<uint64_t> groups;
  for (const uint64_t id : ids) groups.push_back(dataset.meta(id).group);
  return groups;
}

json repeated_folds(const ProtocolInput& input) {
  const EvalData& data = input.data;
  const std::vector<uint64_t> groups = groups_of(input.dataset, data.memory);
  std::vector<std::vector<int>> folds;
  for (int repeat = 0; repeat < kRepeats; ++repeat)
    folds.push_back(
        stratified_folds(data.memory, data.memory_labels, groups, data.classes, kFolds, input.seed, static_cast<uint64_t>(repeat) + 1));
  const at::Tensor rows = run_tasks(input.comm, kRepeats * kFolds, 1, input.threads, [&](int64_t task, double* out) {
    const std::vector<int>& fold_of = folds[task / kFolds];
    const int fold = static_cast<int>(task % kFolds);
    std::vector<uint64_t> ids, their_groups;
    for (size_t row = 0; row < fold_of.size(); ++row) {
      if (fold_of[row] == fold) continue;
      ids.push_back(data.memory[row]);
      their_groups.push_back(groups[row]);
    }
    *out = nested_score(part_of(input.features.memory, data.memory_labels, fold_of, fold, data.classes), ids, their_groups, data.classes,
                        input.seed);
  });
  std::vector<double> values;
  for (int64_t i = 0; i < rows.size(0); ++i)
    if (const double v = rows[i][0].item<double>(); !std::isnan(v)) values.push_back(v);
  json result = {
      {"folds", kFolds}, {"repeats", kRepeats}, {"inner_folds", kInnerFolds}, {"score", "balanced_accuracy"}, {"method", "plain"}};
  if (values.size() < 2) {
    put(result, "mean", Stat::undefined("no class has two training images (or groups) to hold one out"));
    return result;
  }
  const MeanInterval interval = t_interval(values, 1.0 / (kFolds - 1));
  result["mean"] = interval.mean;
  result["deviation"] = interval.deviation;
  result["interval95"] = {interval.mean - *interval.half_width.value, interval.mean + *interval.half_width.value};
  return result;
}

}  // namespace dinoxx::eval
