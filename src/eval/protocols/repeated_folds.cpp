#include "repeated_folds.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "eval/classify/folds.hpp"
#include "eval/classify/logistic.hpp"
#include "eval/classify/units.hpp"
#include "eval/features/blocks.hpp"
#include "eval/run/checks.hpp"
#include "eval/statistics/resampling.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr int kInnerFolds = 3, kRepeats = 5;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

json over_folds(const at::Tensor& rows, int64_t column) {
  std::vector<double> values;
  for (int64_t i = 0; i < rows.size(0); ++i)
    if (const double v = rows.const_data_ptr<double>()[i * rows.size(1) + column]; !std::isnan(v)) values.push_back(v);
  json result = json::object();
  if (values.size() < 2) {
    put(result, "mean", Stat::undefined("no class has two training images (or groups) to hold one out"));
    return result;
  }
  const MeanInterval interval = t_interval(values, 1.0 / (kFolds - 1));
  result = {{"mean", interval.mean}, {"deviation", interval.deviation}};
  if (interval.deviation > 1e-12)  // else rounding
    result["interval95"] = {interval.mean - *interval.half_width.value, interval.mean + *interval.half_width.value};
  else
    put(result, "interval95", Stat::undefined("all folds give the same value: they say nothing about its spread"));
  return result;
}

// Of the values of C the best on inner folds of the part, for each of the two ways to read the logits.
struct Chosen {
  double plain = 1, adjusted = 1;
};
Chosen choose_inside(const FoldTask& task, int classes, uint64_t seed) {
  const Part& part = task.part;
  const std::vector<double> cs = values_of_c();
  const std::vector<int> inner = stratified_folds(task.ids, part.train_labels, task.units, classes, kInnerFolds, seed);
  std::vector<std::vector<double>> plain(kSteps, std::vector<double>(classes)), adjusted = plain;
  std::vector<int64_t> support(classes);
  for (int fold = 0; fold < kInnerFolds; ++fold) {
    const Part tried = part_of(part.train, part.train_labels, inner, fold, classes);
    if (tried.test_labels.empty()) continue;
    for (const int32_t label : tried.test_labels) ++support[label];
    LogisticRegression regression(tried.train, tried.train_labels, classes);
    for (int step = 0; step < kSteps; ++step) {
      const at::Tensor logits = regression.fit(cs[step], {.tolerance = kPathTolerance}).model.logits(tried.test);
      count_correct(tried.test_labels, predict(logits), plain[step].data());
      count_correct(tried.test_labels, predict(adjust_logits(logits, tried.train_counts)), adjusted[step].data());
    }
  }
  if (std::none_of(support.begin(), support.end(), [](int64_t n) { return n > 0; })) return {};
  const auto best = [&](const std::vector<std::vector<double>>& correct) {
    std::vector<double> path;
    for (const std::vector<double>& of_step : correct) path.push_back(mean_recall(of_step, support));
    return cs[best_of(path)];
  };
  return {best(plain), best(adjusted)};
}

}  // namespace

bool wants_repeated_folds(const ProtocolInput& input) {
  if (input.in_training) return false;
  const EvalData& data = input.data;
  const auto memory = static_cast<int64_t>(data.memory.size());
  const std::set<int32_t> tested(data.query_labels.begin(), data.query_labels.end());
  const bool few = static_cast<double>(data.queries.size()) < kFewTestImages * static_cast<double>(tested.size());
  return memory < kSmallSet || (few && memory <= kLargestForFolds);
}

json repeated_folds(const ProtocolInput& input, const std::vector<std::string>& methods, const FoldAnswers& answers) {
  const EvalData& data = input.data;
  const std::vector<uint64_t> units = units_of(input.dataset, data.memory);
  std::vector<std::vector<int>> folds;
  for (int repeat = 0; repeat < kRepeats; ++repeat)
    folds.push_back(
        stratified_folds(data.memory, data.memory_labels, units, data.classes, kFolds, input.seed, static_cast<uint64_t>(repeat) + 1));
  const auto width = static_cast<int64_t>(2 * methods.size() + 2);  // balanced accuracy and accuracy, of the majority class last
  const at::Tensor rows = run_tasks(input.comm, kRepeats * kFolds, width, input.threads, [&](int64_t number, double* row) {
    const std::vector<int>& fold_of = folds[number / kFolds];
    const int fold = static_cast<int>(number % kFolds);
    std::vector<uint64_t> ids, their_units;
    for (size_t i = 0; i < fold_of.size(); ++i) {
      if (fold_of[i] == fold) continue;
      ids.push_back(data.memory[i]);
      their_units.push_back(units[i]);
    }
    const Part part = part_of(input.features.memory, data.memory_labels, fold_of, fold, data.classes);
    std::fill_n(row, width, kNaN);
    if (part.test_labels.empty()) return;
    std::vector<std::vector<int32_t>> all = answers({part, ids, their_units});
    const auto most = std::max_element(part.train_counts.begin(), part.train_counts.end()) - part.train_counts.begin();
    all.emplace_back(part.test_labels.size(), static_cast<int32_t>(most));
    for (const std::vector<int32_t>& of_method : all) {
      const Tally t = tally(part.test_labels, of_method, data.classes);
      *row++ = *balanced_accuracy(t).value;
      *row++ = *accuracy(t).value;
    }
  });
  const bool grouped = std::any_of(units.begin(), units.end(), [](uint64_t unit) { return unit != 0; });
  json result = {{"folds", kFolds}, {"repeats", kRepeats}, {"images", data.memory.size()}, {"units", grouped ? "groups" : "images"}};
  std::set<int32_t> tested, known(data.memory_labels.begin(), data.memory_labels.end());
  for (const std::vector<int>& fold_of : folds)
    for (size_t i = 0; i < fold_of.size(); ++i)
      if (fold_of[i] >= 0) tested.insert(data.memory_labels[i]);
  known.insert(data.query_labels.begin(), data.query_labels.end());
  for (const int32_t label : known)
    if (!tested.contains(label)) result["classes_left_out"].push_back(class_name(input.dataset, label));
  for (size_t m = 0; m <= methods.size(); ++m) {
    json& own = m < methods.size() ? result["methods"][methods[m]] : result["majority"];
    own["balanced_accuracy"] = over_folds(rows, static_cast<int64_t>(2 * m));
    own["accuracy"] = over_folds(rows, static_cast<int64_t>(2 * m + 1));
  }
  return result;
}

json repeated_folds_of_logistic(const ProtocolInput& input) {
  const int classes = input.data.classes;
  json result = repeated_folds(input, {"plain", "logit_adjusted"}, [&](const FoldTask& task) {
    const Chosen chosen = choose_inside(task, classes, input.seed);
    LogisticRegression regression(task.part.train, task.part.train_labels, classes);
    const auto logits = [&](double c) {
      regression.start(ClassWeight::kPlain);
      return regression.fit(c, {.tolerance = kTolerance}).model.logits(task.part.test);
    };
    return std::vector{predict(logits(chosen.plain)), predict(adjust_logits(logits(chosen.adjusted), task.part.train_counts))};
  });
  result["inner_folds"] = kInnerFolds;
  result["score"] = "balanced_accuracy";
  result["method"] = "plain";
  const json headline = result["methods"]["plain"]["balanced_accuracy"];
  result.update(headline);
  return result;
}

}  // namespace dinoxx::eval
