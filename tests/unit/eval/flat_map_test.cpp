// Points of many dimensions on a plane.
#include "eval/evidence/flat_map.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.hpp"

namespace dinoxx::eval {
namespace {

// Groups of points around corners of a simplex in 20 dimensions, one after the other.
at::Tensor groups(int count, int of_each, double noise) {
  at::Tensor x = at::zeros({int64_t{count} * of_each, 20}, at::kDouble);
  for (int64_t i = 0; i < x.size(0); ++i) {
    CounterRng rng(3, static_cast<uint64_t>(i), 0, Purpose::kEval);
    for (int64_t j = 0; j < 20; ++j) x[i][j] = noise * rng.normal();
    x[i][i / of_each] += 1;
  }
  return x;
}

TEST(FlatMap, PrincipalComponentsAreThoseOfTheCovariance) {
  const at::Tensor x = groups(3, 10, 0.2).to(at::kFloat);
  const Principal found = principal_places(x);
  const at::Tensor centred = x.to(at::kDouble) - x.to(at::kDouble).mean(0);
  const auto [values, vectors] = at::linalg_eigh(centred.t().matmul(centred));
  const at::Tensor falling = values.flip(0);
  for (int64_t c = 0; c < 2; ++c) {
    const at::Tensor expected = centred.matmul(vectors.select(1, 19 - c)), places = found.places.select(1, c);
    EXPECT_NEAR(std::abs(expected.dot(places).item<double>()), falling[c].item<double>(), 1e-9) << "the same up to its sign";
    EXPECT_NEAR(found.explained[static_cast<size_t>(c)], (falling[c] / falling.sum()).item<double>(), 1e-12);
  }
  EXPECT_TRUE(at::equal(principal_places(x).places, found.places));
}

TEST(FlatMap, TsneKeepsGroupsApartThatTwoComponentsLayOverEachOther) {
  const at::Tensor x = groups(8, 15, 0.15);
  const at::Tensor tsne = tsne_places(x, tsne_perplexity(x.size(0))), pca = principal_places(x).places;
  EXPECT_TRUE(at::isfinite(tsne).all().item<bool>());
  EXPECT_LT(tsne.mean(0).abs().max().item<double>(), 1e-9);
  // the nearest point of each is of its group
  at::Tensor distances = at::cdist(tsne, tsne);
  distances.fill_diagonal_(INFINITY);
  const at::Tensor nearest = distances.argmin(1), group = at::arange(x.size(0)).floor_divide(15);
  EXPECT_EQ((group.index_select(0, nearest) == group).sum().item<int64_t>(), x.size(0));
  EXPECT_GT(kept_neighbours(x, tsne, 5), kept_neighbours(x, pca, 5) + 0.1);
  EXPECT_TRUE(at::equal(tsne_places(x, tsne_perplexity(x.size(0))), tsne)) << "nothing is drawn";
}

TEST(FlatMap, CopiesAreNoTrouble) {
  at::Tensor x = groups(2, 10, 0.1);
  x.narrow(0, 0, 12).copy_(x[0].expand({12, 20}).clone());
  EXPECT_TRUE(at::isfinite(tsne_places(x, tsne_perplexity(20))).all().item<bool>());
  EXPECT_TRUE(at::isfinite(tsne_places(at::ones({14, 20}, at::kFloat), tsne_perplexity(14))).all().item<bool>());
  EXPECT_EQ(principal_places(at::ones({14, 20}, at::kFloat)).explained, (std::vector<double>{0, 0}));
}

TEST(FlatMap, KeptNeighbours) {
  const at::Tensor line = at::arange(6, at::kDouble).unsqueeze(1);
  EXPECT_DOUBLE_EQ(kept_neighbours(line, line * 7, 2), 1);
  // 0 1 2 3 4 5 laid out as 0 2 4 1 3 5: the nearest of an end are counted by hand
  const at::Tensor mixed = at::tensor({0.0, 3.1, 1.0, 4.2, 2.05, 5.5}, at::kDouble).unsqueeze(1);
  // nearest 2 in line: {1,2} {0,2} {1,3} {2,4} {3,5} {3,4}; in mixed: {2,4} {4,3} {0,4} {1,5} {2,1} {3,1}
  EXPECT_DOUBLE_EQ(kept_neighbours(line + at::tensor({0.0, 0.01, 0.03, 0.06, 0.1, 0.15}, at::kDouble).unsqueeze(1), mixed, 2), 2.0 / 12);
}

}  // namespace
}  // namespace dinoxx::eval
