// What the zero-shot step is made of.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "base/rng.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/classify/kmeans.hpp"
#include "eval/classify/knn.hpp"
#include "eval/classify/retrieval.hpp"

namespace dinoxx::eval {
namespace {

using testing::ElementsAre;

// `each` points around each of `k` directions.
at::Tensor around(int k, int each, double noise) {
  at::Tensor points = at::zeros({int64_t{k} * each, 8}, at::kFloat);
  CounterRng rng(3, 0, 0, Purpose::kEval);
  for (int64_t i = 0; i < points.size(0); ++i) {
    for (int64_t j = 0; j < 8; ++j) points.data_ptr<float>()[i * 8 + j] = static_cast<float>(noise * rng.normal());
    points.data_ptr<float>()[i * 8 + i / each] += 1;
  }
  return normalize_rows(points);
}

TEST(Kmeans, FindsDirectionsThatStandApartAndIsAFunctionOfTheRestart) {
  const at::Tensor points = around(4, 25, 0.05);
  const Clusters clusters = spherical_kmeans(points, 4, 0, 0);
  EXPECT_TRUE(clusters.converged);
  EXPECT_GT(clusters.similarity, 0.97);
  const std::vector<int32_t> nearest = nearest_centre(points, clusters.centres);
  for (int c = 0; c < 4; ++c) EXPECT_EQ(std::set<int32_t>(nearest.begin() + c * 25, nearest.begin() + (c + 1) * 25).size(), 1u);
  EXPECT_EQ(std::set<int32_t>(nearest.begin(), nearest.end()).size(), 4u);
  EXPECT_TRUE(at::equal(spherical_kmeans(points, 4, 0, 0).centres, clusters.centres));
  EXPECT_FALSE(at::equal(spherical_kmeans(around(4, 25, 2.0), 4, 0, 0).centres, spherical_kmeans(around(4, 25, 2.0), 4, 0, 1).centres));
}

TEST(Kmeans, FewerDistinctPointsThanClustersAndTooManyClusters) {
  const at::Tensor same = around(1, 6, 0.0);
  const Clusters clusters = spherical_kmeans(same, 3, 0, 0);
  EXPECT_TRUE(clusters.centres.isfinite().all().item<bool>());
  EXPECT_NEAR(clusters.similarity, 1.0, 1e-6);
  EXPECT_THROW(spherical_kmeans(same, 7, 0, 0), Error);
  EXPECT_THROW(spherical_kmeans(same, 0, 0, 0), Error);
}

TEST(Retrieval, AveragePrecisionByHandTiesBrokenByRow) {
  // cosines with the query: 0.8, 0.6, 0.6, 0, -1
  const at::Tensor query = at::tensor({1.0f, 0.0f}).reshape({1, 2});
  const at::Tensor memory = at::tensor({0.8f, 0.6f, 0.6f, 0.8f, 0.6f, -0.8f, 0.0f, 1.0f, -1.0f, 0.0f}).reshape({5, 2});
  const auto precision = [&](const std::vector<int32_t>& labels) {
    const std::vector<int32_t> wanted{1};
    return average_precisions(query, wanted, memory, labels)[0].item<double>();
  };
  EXPECT_DOUBLE_EQ(precision({1, 1, 0, 0, 0}), 1.0);
  EXPECT_DOUBLE_EQ(precision({0, 1, 0, 0, 0}), 1.0 / 2);  // row 1 before row 2
  EXPECT_DOUBLE_EQ(precision({0, 0, 1, 0, 0}), 1.0 / 3);
  EXPECT_DOUBLE_EQ(precision({1, 0, 0, 0, 1}), (1.0 + 2.0 / 5) / 2);
  EXPECT_TRUE(std::isnan(precision({0, 0, 0, 0, 0})));
}

TEST(Vote, BalancedVotesAskHowDenseAClassIsForItsSize) {
  // four neighbours equally near: three of class 0, which has 300 images, one of class 1, which has 10
  const Neighbors neighbors{4, {0, 1, 2, 3}, {0.5, 0.5, 0.5, 0.5}};
  const std::vector<int32_t> labels{0, 0, 1, 0};
  KnnPlan plan;
  plan.ks = {4};
  const std::vector<double> weights{1.0 / 300, 1.0 / 10, 1.0};
  EXPECT_EQ(vote(neighbors, labels, 3, plan).front(), 0);
  EXPECT_THAT(vote(neighbors, labels, 3, plan, weights), ElementsAre(1, 0, -1, -1, -1));
}

}  // namespace
}  // namespace dinoxx::eval
