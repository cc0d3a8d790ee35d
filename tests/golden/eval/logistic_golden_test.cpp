// Logistic regression and nearest class means against scikit-learn (make_logistic.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>

#include "eval/classify/logistic.hpp"
#include "eval/classify/nearest_mean.hpp"
#include "golden.hpp"

namespace dinoxx::eval {
namespace {

struct Case {
  std::string name;
  int64_t rows, dim;
  int classes;
};
const std::vector<Case> kCases{
    {"many", 400, 12, 5}, {"wide", 40, 64, 4}, {"gap", 150, 20, 6}, {"binary", 120, 10, 2}, {"one_each", 6, 30, 6}};
const std::vector<double> kCs{1e-4, 1.0, 1e4};

at::Tensor features(const std::string& name, int64_t rows, int64_t dim) {
  const at::Tensor scale = at::pow(10.0, -2 * at::arange(dim, at::kDouble) / dim);
  return (golden::uniform(name, {rows, dim}) * scale + 0.5 * golden::uniform("offset", {dim})).to(at::kFloat);
}

std::vector<int32_t> ints(const at::Tensor& tensor) {
  const at::Tensor narrow = tensor.to(at::kInt).contiguous();
  return {narrow.data_ptr<int32_t>(), narrow.data_ptr<int32_t>() + narrow.numel()};
}

void expect_clear_predictions(const std::string& key, const std::vector<int32_t>& actual, const std::vector<int32_t>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  int clear = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (expected[i] < 0) continue;
    ++clear;
    EXPECT_EQ(actual[i], expected[i]) << key << ", query " << i;
  }
  EXPECT_GT(clear, 100) << key;
}

TEST(LogisticGolden, ObjectiveAndPredictionsAreThoseOfScikitLearnColdAndAlongAPath) {
  const golden::Fixture file("logistic");
  for (const Case& c : kCases) {
    const at::Tensor x = features(c.name + ".x", c.rows, c.dim), queries = features(c.name + ".q", 200, c.dim);
    const std::vector<int32_t> labels = ints(file.tensor(c.name + ".labels"));
    LogisticRegression path(x, labels, c.classes);
    for (const ClassWeight weight : {ClassWeight::kPlain, ClassWeight::kBalanced}) {
      path.start(weight);
      for (size_t i = 0; i < kCs.size(); ++i) {
        const std::string key = c.name + "." + std::to_string(i) + (weight == ClassWeight::kBalanced ? ".balanced" : "");
        const double expected = file.tensor(key + ".objective")[0].item<double>();
        LogisticRegression cold(x, labels, c.classes);
        cold.start(weight);
        for (LogisticRegression* regression : {&path, &cold}) {
          const LogisticFit fit = regression->fit(kCs[i], {.tolerance = 1e-12});
          EXPECT_TRUE(fit.converged) << key;
          EXPECT_NEAR(fit.objective, expected, 1e-9 * expected) << key << " after " << fit.iterations << " steps";
          expect_clear_predictions(key, predict(fit.model.logits(queries)), ints(file.tensor(key + ".predictions")));
        }
      }
    }
  }
}

TEST(LogisticGolden, NearestClassMeansAreThoseOfScikitLearn) {
  const golden::Fixture file("logistic");
  for (const Case& c : kCases) {
    const at::Tensor scores = nearest_mean_scores(features(c.name + ".x", c.rows, c.dim), ints(file.tensor(c.name + ".labels")), c.classes,
                                                  features(c.name + ".q", 200, c.dim));
    EXPECT_EQ(predict(scores), ints(file.tensor(c.name + ".centroid"))) << c.name;
  }
}

}  // namespace
}  // namespace dinoxx::eval
