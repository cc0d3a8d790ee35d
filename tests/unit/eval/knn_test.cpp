#include "eval/classify/knn.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "base/rng.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx::eval {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

at::Tensor random_rows(int64_t rows, int64_t dim, uint64_t seed, at::ScalarType type = at::kFloat) {
  at::Tensor result = at::empty({rows, dim}, at::kDouble);
  CounterRng rng(seed, 0, 0, Purpose::kEval);
  for (int64_t i = 0; i < rows * dim; ++i) result.data_ptr<double>()[i] = rng.normal();
  return normalize_rows(result).to(type);
}

std::vector<int32_t> random_labels(int64_t count, int classes, uint64_t seed) {
  CounterRng rng(seed, 1, 0, Purpose::kEval);
  std::vector<int32_t> labels(count);
  for (int32_t& label : labels) label = static_cast<int32_t>(rng.below(classes));
  return labels;
}

// The definition, written as plainly as possible.
std::vector<int32_t> brute_force(const at::Tensor& queries, const at::Tensor& memory, const std::vector<int32_t>& labels, int classes, int k, double temperature) {
  const int64_t dim = queries.size(1);
  std::vector<int32_t> predictions;
  for (int64_t q = 0; q < queries.size(0); ++q) {
    std::vector<std::pair<double, int64_t>> order;  // (-similarity, row): sorts by similarity down, then row up
    for (int64_t m = 0; m < memory.size(0); ++m) {
      double dot = 0;
      for (int64_t d = 0; d < dim; ++d) dot += queries.data_ptr<double>()[q * dim + d] * memory.data_ptr<double>()[m * dim + d];
      order.emplace_back(-dot, m);
    }
    std::sort(order.begin(), order.end());
    std::vector<double> votes(classes, 0.0);
    for (int i = 0; i < k; ++i) votes[labels[order[i].second]] += std::exp(-order[i].first / temperature);
    predictions.push_back(static_cast<int32_t>(std::max_element(votes.begin(), votes.end()) - votes.begin()));
  }
  return predictions;
}

TEST(Knn, AgreesWithBruteForceForEveryK) {
  // 9000 rows of memory: more than two pieces of 4096
  const at::Tensor memory = random_rows(9000, 16, 1, at::kDouble), queries = random_rows(50, 16, 2, at::kDouble);
  const std::vector<int32_t> labels = random_labels(9000, 12, 3);
  const KnnPlan plan = plan_knn({}, 9000);
  const std::vector<int32_t> ranked = vote(nearest_neighbors(queries, memory, plan.ks.back()), labels, 12, plan);
  for (size_t i = 0; i < plan.ks.size(); ++i) {
    const std::vector<int32_t> expected = brute_force(queries, memory, labels, 12, plan.ks[i], plan.temperature);
    for (int64_t q = 0; q < 50; ++q) EXPECT_EQ(ranked[(q * plan.ks.size() + i) * kTopClasses], expected[q]) << "query " << q << " k " << plan.ks[i];
  }
}

TEST(Knn, NeighborsAreSortedAndEqualSimilarityGoesToTheLowerRow) {
  // rows 1, 3 and 5 are the same vector
  const at::Tensor memory = at::tensor({0.f, 1.f, 1.f, 0.f, -1.f, 0.f, 1.f, 0.f, 0.6f, 0.8f, 1.f, 0.f}).view({6, 2});
  const at::Tensor query = at::tensor({1.f, 0.f}).view({1, 2});
  EXPECT_THAT(nearest_neighbors(query, memory, 2).rows, ElementsAre(1, 3));
  EXPECT_THAT(nearest_neighbors(query, memory, 4).rows, ElementsAre(1, 3, 5, 4));
  EXPECT_THAT(nearest_neighbors(query, memory, 6).rows, ElementsAre(1, 3, 5, 4, 0, 2));
  EXPECT_NEAR(nearest_neighbors(query, memory, 4).similarity[3], 0.6, 1e-7);
}

TEST(Knn, TiesAcrossPiecesOfTheMemoryGoToTheLowerRow) {
  at::Tensor memory = at::zeros({10000, 2});
  memory.select(1, 0).fill_(1.0);  // all equal
  const at::Tensor query = at::tensor({1.f, 0.f}).view({1, 2});
  EXPECT_THAT(nearest_neighbors(query, memory, 3).rows, ElementsAre(0, 1, 2));
}

TEST(Knn, EqualVotesGoToTheLowerClassAndClassesWithoutVoteAreNoPrediction) {
  Neighbors neighbors{4, {0, 1, 2, 3}, {0.5, 0.5, 0.5, 0.5}};
  const std::vector<int32_t> labels{7, 2, 7, 2};
  KnnPlan plan{{1, 2, 4}, {}, 2, 0.07};
  EXPECT_THAT(vote(neighbors, labels, 9, plan), ElementsAre(7, -1, -1, -1, -1, 2, 7, -1, -1, -1, 2, 7, -1, -1, -1));
}

TEST(Knn, OneNearNeighborOutvotesTwoFarOnesAtLowTemperature) {
  const Neighbors neighbors{3, {0, 1, 2}, {0.9, 0.8, 0.8}};
  const std::vector<int32_t> labels{0, 1, 1};
  KnnPlan plan{{3}, {}, 3, 0.07};  // exp(0.1 / 0.07) = 4.2 > 2
  EXPECT_EQ(vote(neighbors, labels, 2, plan)[0], 0);
  plan.temperature = 0.5;  // exp(0.1 / 0.5) = 1.2 < 2
  EXPECT_EQ(vote(neighbors, labels, 2, plan)[0], 1);
  plan.temperature = 1e-4;  // exp(9000) does not fit in a double
  EXPECT_EQ(vote(neighbors, labels, 2, plan)[0], 0);
}

TEST(Knn, PlanKeepsWhatTheMemoryAllows) {
  KnnPlan plan = plan_knn({}, 1000);
  EXPECT_THAT(plan.ks, ElementsAre(10, 20, 100, 200));
  EXPECT_TRUE(plan.dropped.empty());
  EXPECT_EQ(plan.headline_k, 20);

  plan = plan_knn({}, 199);
  EXPECT_THAT(plan.ks, ElementsAre(10, 20, 100));
  EXPECT_THAT(plan.dropped, ElementsAre(200));
  EXPECT_EQ(plan.headline_k, 20);

  plan = plan_knn({}, 19);
  EXPECT_THAT(plan.ks, ElementsAre(10));
  EXPECT_EQ(plan.headline_k, 10);

  plan = plan_knn({}, 3);
  EXPECT_THAT(plan.ks, ElementsAre(3));
  EXPECT_THAT(plan.dropped, ElementsAre(10, 20, 100, 200));
  EXPECT_EQ(plan.headline_k, 3);

  EXPECT_EQ(plan_knn({{5, 50}, 20, 0.07}, 100).headline_k, 20);  // the headline is always among the ks
  EXPECT_THROW(plan_knn({}, 0), Error);
  EXPECT_THROW(plan_knn({{0}, 20, 0.07}, 100), Error);
  EXPECT_THROW(plan_knn({{10}, 20, 0.0}, 100), Error);
}

TEST(Knn, NormalizeRowsGivesUnitRowsKeepsZeroAndRefusesNan) {
  const at::Tensor rows = normalize_rows(at::tensor({3.f, 4.f, 0.f, 0.f}).view({2, 2}));
  EXPECT_NEAR(rows[0][0].item<float>(), 0.6, 1e-7);
  EXPECT_NEAR(rows[0][1].item<float>(), 0.8, 1e-7);
  EXPECT_EQ(rows[1][0].item<float>(), 0.0f);
  at::Tensor bad = at::ones({3, 2});
  bad[2][1] = std::numeric_limits<float>::quiet_NaN();
  try {
    normalize_rows(bad);
    FAIL() << "accepted NaN";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("row 2"));
  }
}

TEST(Knn, KOutsideTheMemoryIsRefused) {
  const at::Tensor rows = at::ones({3, 2});
  EXPECT_THROW(nearest_neighbors(rows, rows, 4), Error);
  EXPECT_THROW(nearest_neighbors(rows, rows, 0), Error);
}

}  // namespace
}  // namespace dinoxx::eval
