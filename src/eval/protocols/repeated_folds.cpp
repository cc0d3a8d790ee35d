#include "repeated_folds.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
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

// Right answers and images of each class.
struct Counts {
  std::vector<double> correct, images;
  explicit Counts(size_t classes) : correct(classes), images(classes) {}
  void add(const double* more_correct, const double* more_images) {
    for (size_t c = 0; c < correct.size(); ++c) {
      correct[c] += more_correct[c];
      images[c] += more_images[c];
    }
  }
  int64_t tested() const {
    return std::count_if(images.begin(), images.end(), [](double n) { return n > 0; });
  }
  double accuracy() const {
    return std::accumulate(correct.begin(), correct.end(), 0.0) / std::accumulate(images.begin(), images.end(), 0.0);
  }
  double balanced_accuracy() const {
    double sum = 0;
    for (size_t c = 0; c < correct.size(); ++c) sum += images[c] > 0 ? correct[c] / images[c] : 0;
    return sum / static_cast<double>(tested());
  }
};

// The mean is that of the repetitions, each counted as one test set of all images that are held out: a fold of a small set may lack a
// class, and its own score would be one of fewer classes. How much it varies is told by the folds that test two classes or more.
json over_folds(const std::vector<Counts>& repeats, const std::vector<Counts>& folds, double (Counts::*score)() const) {
  json result = json::object();
  double mean = 0;
  for (const Counts& repeat : repeats) {
    const int64_t tested = repeat.tested();
    if (tested < 2) {
      put(result, "mean",
          Stat::undefined(tested == 0
                              ? "no class has two training images (or groups) to hold one out"
                              : "only one class has two training images (or groups) to hold one out: no test of telling classes apart"));
      return result;
    }
    mean += (repeat.*score)() / static_cast<double>(repeats.size());
  }
  std::vector<double> values;
  for (const Counts& fold : folds)
    if (fold.tested() >= 2) values.push_back((fold.*score)());
  result["mean"] = mean;
  result["values"] = values;  // fold by fold: the folds are the same for all features
  if (values.size() < 2) {
    put(result, "interval95", Stat::undefined("fewer than two folds test two classes: they say nothing about the spread"));
    return result;
  }
  const MeanInterval interval = t_interval(values, 1.0 / (kFolds - 1));
  result["deviation"] = interval.deviation;
  if (interval.deviation > 1e-12)  // else rounding
    result["interval95"] = {std::max(0.0, mean - *interval.half_width.value), std::min(1.0, mean + *interval.half_width.value)};
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
  // images of each class, then right answers of each method and of the class that most images have
  const auto classes = static_cast<size_t>(data.classes);
  const auto width = static_cast<int64_t>((methods.size() + 2) * classes);
  std::vector<int64_t> all_counts(classes);
  for (const int32_t label : data.memory_labels) ++all_counts[static_cast<size_t>(label)];
  const auto most = static_cast<int32_t>(std::max_element(all_counts.begin(), all_counts.end()) - all_counts.begin());
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
    std::fill_n(row, width, 0.0);
    if (part.test_labels.empty()) return;
    std::vector<std::vector<int32_t>> all = answers({part, ids, their_units});
    all.emplace_back(part.test_labels.size(), most);
    for (const int32_t label : part.test_labels) ++row[label];
    for (const std::vector<int32_t>& of_method : all) count_correct(part.test_labels, of_method, row += classes);
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
    std::vector<Counts> repeats(kRepeats, Counts(classes)), parts(kRepeats * kFolds, Counts(classes));
    for (int64_t task = 0; task < kRepeats * kFolds; ++task) {
      const double* images = rows.const_data_ptr<double>() + task * width;
      const double* correct = images + (m + 1) * classes;
      repeats[static_cast<size_t>(task / kFolds)].add(correct, images);
      parts[static_cast<size_t>(task)].add(correct, images);
    }
    json& own = m < methods.size() ? result["methods"][methods[m]] : result["majority"];
    own["balanced_accuracy"] = over_folds(repeats, parts, &Counts::balanced_accuracy);
    own["accuracy"] = over_folds(repeats, parts, &Counts::accuracy);
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
