// Few-shot methods that look at all queries together, against NumPy (make_transductive.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "eval/classify/transductive.hpp"
#include "golden.hpp"

namespace dinoxx::eval {
namespace {

struct Case {
  std::string name;
  int ways, shots;
  std::vector<int> queries;  // of each class
};

at::Tensor features(const std::string& name, const std::vector<int32_t>& labels) {
  at::Tensor x = golden::uniform(name, {static_cast<int64_t>(labels.size()), 16}).to(at::kDouble).clone();
  for (size_t i = 0; i < labels.size(); ++i) x[static_cast<int64_t>(i)][labels[i]] += 1.0;
  return x / x.norm(2, {1}, /*keepdim=*/true);
}

TEST(TransductiveGolden, AgreesWithNumPy) {
  const golden::Fixture file("transductive");
  for (const Case& c : std::vector<Case>{{"balanced", 5, 1, {15, 15, 15, 15, 15}},
                                         {"unequal", 5, 5, {40, 20, 9, 5, 1}},
                                         {"two", 2, 1, {1, 1}},
                                         {"lone", 3, 2, {0, 1, 0}}}) {
    std::vector<int32_t> support_labels, query_labels;
    for (int w = 0; w < c.ways; ++w) {
      support_labels.insert(support_labels.end(), c.shots, w);
      query_labels.insert(query_labels.end(), c.queries[w], w);
    }
    const at::Tensor support = features(c.name + ".support", support_labels), queries = features(c.name + ".queries", query_labels);
    const auto largest_error = [&](const at::Tensor& actual, const std::string& method) {
      const at::Tensor expected = file.tensor(c.name + "." + method);
      EXPECT_EQ(actual.sizes(), expected.sizes());
      return (actual - expected).abs().max().item<double>();
    };
    EXPECT_LT(largest_error(soft_kmeans_scores(support, support_labels, c.ways, queries), "soft_kmeans"), 1e-9) << c.name;
    const at::Tensor assignment = laplacian_assignment(support, support_labels, c.ways, queries);
    EXPECT_LT(largest_error(assignment, "laplacian"), 1e-9) << c.name;
    EXPECT_LT((assignment.sum(1) - 1).abs().max().item<double>(), 1e-12);
    const at::Tensor narrow_support = support.to(at::kFloat), narrow = queries.to(at::kFloat);  // as the few-shot step has them
    EXPECT_LT(largest_error(soft_kmeans_scores(narrow_support, support_labels, c.ways, narrow), "soft_kmeans"), 1e-5) << c.name;
    EXPECT_LT(largest_error(laplacian_assignment(narrow_support, support_labels, c.ways, narrow), "laplacian"), 1e-5) << c.name;
  }
}

}  // namespace
}  // namespace dinoxx::eval
