// Scores, calibration, clusterings and tests against scikit-learn, SciPy and NumPy (make_statistics.py). What dinoxx calls undefined where
// they fill something in is listed here.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "eval/classify/cluster_scores.hpp"
#include "eval/statistics/calibration.hpp"
#include "eval/statistics/metrics.hpp"
#include "eval/statistics/resampling.hpp"
#include "eval/statistics/statistics.hpp"
#include "golden.hpp"

namespace dinoxx::eval {
namespace {

using golden::Fixture;

constexpr double kTolerance = 1e-9;

std::vector<int32_t> ints(const at::Tensor& tensor) {
  const at::Tensor narrow = tensor.to(at::kInt).contiguous();
  return {narrow.data_ptr<int32_t>(), narrow.data_ptr<int32_t>() + narrow.numel()};
}

std::vector<double> doubles(const at::Tensor& tensor) {
  const at::Tensor wide = tensor.to(at::kDouble).contiguous();
  return {wide.data_ptr<double>(), wide.data_ptr<double>() + wide.numel()};
}

constexpr const char *kNoPositive = "no test images of the class", *kNoNegative = "all test images are of the class",
                     *kNeverPredicted = "the class is never predicted";

// What is undefined here, all of it, with the reason that is given for it: the test fails when one of these gets a value, or another one
// none. Behind each: what scikit-learn says instead.
const std::map<std::string, std::string> kUndefined{
    {"single.mcc", "all test images are of one class"},      // 0
    {"constant.mcc", "all predictions are the same class"},  // 0
    {"single.auroc.0", kNoPositive},                         // refused
    {"single.auroc.1", kNoNegative},                         // refused
    {"single.auroc.2", kNoPositive},
    {"single.auprc.0", kNoPositive},  // 0 with a warning
    {"single.auprc.1", kNoNegative},  // always 1
    {"single.auprc.2", kNoPositive},
    {"missing.auroc.3", kNoPositive},
    {"missing.auprc.3", kNoPositive},
    {"single.recall.0", kNoPositive},  // 0 with a warning, as all below up to the temperature
    {"single.recall.2", kNoPositive},
    {"missing.recall.3", kNoPositive},
    {"missing.precision.4", kNeverPredicted},
    {"constant.precision.0", kNeverPredicted},
    {"constant.precision.1", kNeverPredicted},
    {"one_each.precision.2", kNeverPredicted},
    {"one_each.precision.3", kNeverPredicted},
    {"perfect.temperature", "all images that it is fitted on are classified correctly: the best temperature is 0"},
    {"single.temperature", "the logits are no better than chance: the temperature is unbounded"},
    {"cluster_constant.nmi", "one class and one cluster only"},              // 1
    {"cluster_constant.ari", "one class and one cluster only"},              // 1
    {"cluster_singletons.ari", "no two images share a class or a cluster"},  // 1
};

class StatisticsGolden : public testing::Test {
 protected:
  Fixture file_{"statistics"};
  std::map<std::string, std::string> undefined_;

  void expect(const std::string& name, const Stat& actual, double expected) {
    if (!actual.value) {
      undefined_.emplace(name, actual.reason);
    } else if (!kUndefined.contains(name)) {
      EXPECT_NEAR(*actual.value, expected, kTolerance * std::max(1.0, std::abs(expected))) << name;
    }
  }
  void expect_undefined_of(const std::string& prefix_of_all) {
    std::map<std::string, std::string> listed;
    for (const auto& [name, reason] : kUndefined) {
      if (name.starts_with("cluster") == (prefix_of_all == "cluster")) listed.emplace(name, reason);
    }
    EXPECT_EQ(undefined_, listed);
  }
};

TEST_F(StatisticsGolden, ClassifiersAgreeWithScikitLearnWhereDefined) {
  for (const std::string name : {"plain", "binary", "ties", "missing", "single", "one_each", "constant", "perfect"}) {
    const std::vector<int32_t> labels = ints(file_.tensor(name + ".labels")), predictions = ints(file_.tensor(name + ".predictions"));
    const at::Tensor logits = file_.tensor(name + ".logits");
    const int classes = static_cast<int>(logits.size(1));
    const std::vector<double> probabilities = softmax_rows(doubles(logits), classes), scalars = doubles(file_.tensor(name + ".scalars"));
    const Tally t = tally(labels, predictions, classes);
    expect(name + ".accuracy", accuracy(t), scalars[0]);
    expect(name + ".balanced_accuracy", balanced_accuracy(t), scalars[1]);
    expect(name + ".macro_f1", macro_f1(t), scalars[2]);
    expect(name + ".mcc", matthews(t), scalars[3]);
    const Calibration calibration = calibrate(labels, probabilities, classes);
    expect(name + ".nll", calibration.nll, scalars[4]);
    expect(name + ".brier", calibration.brier, scalars[5]);
    expect(name + ".ece_mass", calibration.ece_mass, scalars[6]);
    expect(name + ".ece_width", calibration.ece_width, scalars[7]);
    expect(name + ".classwise_mass", calibration.classwise_mass, scalars[9]);
    expect(name + ".classwise_width", calibration.classwise_width, scalars[10]);
    expect(name + ".temperature", fit_temperature(labels, doubles(logits), classes), scalars[8]);
    const Ranking ranking = one_against_rest(labels, probabilities, classes);
    const auto per_class = [&](const std::string& key, auto&& of) {
      const std::vector<double> expected = doubles(file_.tensor(name + "." + key));
      for (int c = 0; c < classes; ++c) expect(name + "." + key + "." + std::to_string(c), of(c), expected[c]);
    };
    per_class("precision", [&](int c) { return precision(t, c); });
    per_class("recall", [&](int c) { return recall(t, c); });
    per_class("f1", [&](int c) { return f1(t, c); });
    per_class("auroc", [&](int c) { return ranking.auroc[c]; });
    per_class("auprc", [&](int c) { return ranking.auprc[c]; });
    const std::vector<double> macro = doubles(file_.tensor(name + ".macro"));
    if (std::isnan(macro[0])) continue;  // a class without images: scikit-learn has no macro value then
    EXPECT_TRUE(ranking.left_out.empty()) << name;
    expect(name + ".macro_auroc", ranking.macro_auroc, macro[0]);
    expect(name + ".macro_auprc", ranking.macro_auprc, macro[1]);
  }
  expect_undefined_of("");
}

TEST_F(StatisticsGolden, ClustersAgreeWithScikitLearnWhereDefined) {
  for (const std::string name : {"noisy", "more", "fewer", "perfect", "one", "constant", "singletons"}) {
    const std::string key = "cluster_" + name;
    const std::vector<int32_t> labels = ints(file_.tensor(key + ".labels")), clusters = ints(file_.tensor(key + ".clusters"));
    const std::vector<double> scores = doubles(file_.tensor(key + ".scores"));
    const int classes = static_cast<int>(scores[3]), count = static_cast<int>(scores[4]);
    const std::vector<int64_t> table = contingency(labels, clusters, classes, count);
    expect(key + ".accuracy", matched_accuracy(table, classes, count), scores[0]);
    expect(key + ".nmi", mutual_information(table, classes, count), scores[1]);
    expect(key + ".ari", adjusted_rand(table, classes, count), scores[2]);
  }
  expect_undefined_of("cluster");
  const std::vector<int> columns = cheapest_assignment(doubles(golden::uniform("assignment", {40, 40}).add(1).div(2)), 40);
  const std::vector<int32_t> expected = ints(file_.tensor("assignment"));
  EXPECT_EQ(std::vector<int32_t>(columns.begin(), columns.end()), expected);
}

TEST_F(StatisticsGolden, IntervalsAndTestsAgreeWithSciPy) {
  const std::vector<double> wilson = doubles(file_.tensor("wilson"));
  for (size_t i = 0; i < wilson.size(); i += 4) {
    const auto [low, high] = wilson_interval(static_cast<int64_t>(wilson[i]), static_cast<int64_t>(wilson[i + 1]));
    EXPECT_NEAR(low, wilson[i + 2], kTolerance);
    EXPECT_NEAR(high, wilson[i + 3], kTolerance);
  }
  const std::vector<double> mcnemar_cases = doubles(file_.tensor("mcnemar"));
  for (size_t i = 0; i < mcnemar_cases.size(); i += 3) {
    const int64_t a = static_cast<int64_t>(mcnemar_cases[i]), b = static_cast<int64_t>(mcnemar_cases[i + 1]);
    std::vector<int32_t> labels(a + b + 3, 1), first(a + b + 3, 1), second(a + b + 3, 1);  // and three that both have right
    std::fill(second.begin(), second.begin() + a, 0);
    std::fill(first.begin() + a, first.begin() + a + b, 0);
    const McNemar result = mcnemar(labels, first, second);
    EXPECT_EQ(result.only_first, a);
    EXPECT_EQ(result.only_second, b);
    EXPECT_NEAR(result.p, mcnemar_cases[i + 2], kTolerance * mcnemar_cases[i + 2]) << a << " against " << b;
  }
  std::vector<double> values = doubles(golden::uniform("repeats", {25}).add(1).div(2));
  const std::vector<double> t = doubles(file_.tensor("t_interval"));
  EXPECT_NEAR(t_interval(values).mean, t[0], kTolerance);
  EXPECT_NEAR(t_interval(values).half_width.value.value(), t[1], kTolerance);
  EXPECT_NEAR(t_interval(values, 0.25).half_width.value.value(), t[2], kTolerance);
  std::sort(values.begin(), values.end());
  const std::vector<double> quantiles = doubles(file_.tensor("quantiles"));
  const double qs[] = {0.0, 0.025, 0.5, 0.975, 1.0};
  for (int i = 0; i < 5; ++i) EXPECT_NEAR(quantile(values, qs[i]), quantiles[i], kTolerance);
}

}  // namespace
}  // namespace dinoxx::eval
