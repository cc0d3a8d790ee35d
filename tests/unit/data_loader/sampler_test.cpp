#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "data_pipeline/loader/loader.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

TEST(Sampler, EachEpochVisitsEachRowOnce) {
  for (const uint64_t n : {1u, 2u, 3u, 5u, 10u, 63u, 64u, 65u, 100u, 255u, 256u, 257u, 1000u, 1023u, 1024u, 1025u, 5000u, 65537u}) {
    const Sampler sampler(n, 42 + n);
    for (uint64_t epoch = 0; epoch < 3; ++epoch) {
      std::vector<int> seen(n, 0);
      for (uint64_t i = 0; i < n; ++i) {
        const uint64_t row = sampler.row(epoch * n + i);
        ASSERT_LT(row, n);
        ++seen[row];
      }
      ASSERT_EQ(std::count(seen.begin(), seen.end(), 1), static_cast<int64_t>(n)) << "n " << n << ", epoch " << epoch;
    }
  }
}

TEST(Sampler, LargeSetsStayInRangeWithoutRepeats) {
  const uint64_t n = (uint64_t{1} << 33) + 5;
  const Sampler sampler(n, 1);
  std::vector<uint64_t> rows;
  for (uint64_t i = 0; i < 20000; ++i) rows.push_back(sampler.row(7 * n + i));
  EXPECT_LT(*std::max_element(rows.begin(), rows.end()), n);
  std::sort(rows.begin(), rows.end());
  EXPECT_EQ(std::adjacent_find(rows.begin(), rows.end()), rows.end());
}

TEST(Sampler, DependsOnSeedEpochAndPositionAlone) {
  const uint64_t n = 500;
  const Sampler a(n, 3), b(n, 3), other_seed(n, 4);
  int equal_epochs = 0, equal_seeds = 0;
  for (uint64_t i = n; i-- > 0;) {  // another order of calls
    EXPECT_EQ(a.row(i), b.row(i));
    equal_epochs += a.row(i) == a.row(n + i);
    equal_seeds += a.row(i) == other_seed.row(i);
  }
  // Two random permutations agree in one place on average.
  EXPECT_LT(equal_epochs, 8);
  EXPECT_LT(equal_seeds, 8);
}

// Over many keys the pair (row of position 0, row of position 1) must be uniform over all pairs of different rows: chi-squared per degree
// of freedom near 1.
TEST(Sampler, PairsOfNeighboursAreUniformOverSeeds) {
  for (const uint64_t n : {5u, 10u, 37u}) {
    const int draws = 60000;
    std::vector<int> counts(n * n, 0);
    for (int seed = 0; seed < draws; ++seed) {
      const Sampler sampler(n, static_cast<uint64_t>(seed));
      ++counts[sampler.row(0) * n + sampler.row(1)];
    }
    const double cells = static_cast<double>(n * (n - 1)), expected = draws / cells;
    double chi2 = 0.0;
    for (uint64_t a = 0; a < n; ++a) {
      for (uint64_t b = 0; b < n; ++b) {
        if (a == b) {
          EXPECT_EQ(counts[a * n + b], 0);
        } else {
          chi2 += (counts[a * n + b] - expected) * (counts[a * n + b] - expected) / expected;
        }
      }
    }
    const double freedom = cells - 1, spread = std::sqrt(2.0 / freedom);
    EXPECT_NEAR(chi2 / freedom, 1.0, 5.0 * spread) << "n " << n;
  }
}

TEST(Sampler, OrderHasNoSerialCorrelation) {
  const uint64_t n = 20011;
  const Sampler sampler(n, 11);
  const double mean = (static_cast<double>(n) - 1) / 2;
  double product = 0.0, square = 0.0;
  for (uint64_t i = 0; i + 1 < n; ++i) {
    const double a = static_cast<double>(sampler.row(i)) - mean, b = static_cast<double>(sampler.row(i + 1)) - mean;
    product += a * b;
    square += a * a;
  }
  EXPECT_LT(std::abs(product / square), 5.0 / std::sqrt(static_cast<double>(n)));
}

// The order is part of the resume contract: a changed permutation must be a deliberate act.
TEST(Sampler, OrderIsStable) {
  const Sampler sampler(10, 0);
  std::vector<uint64_t> rows;
  for (uint64_t i = 0; i < 10; ++i) rows.push_back(sampler.row(i));
  EXPECT_EQ(rows, (std::vector<uint64_t>{0, 1, 3, 4, 8, 2, 9, 5, 6, 7}));
  EXPECT_EQ(Sampler(1000000007, 123).row(98765432109), 913716632u);
}

TEST(Sampler, RefusesAnEmptySet) {
  EXPECT_THROW(Sampler(0, 1), UsageError);
}

}  // namespace
}  // namespace dinoxx
