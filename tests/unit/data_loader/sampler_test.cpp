#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "data_pipeline/loader/balanced_sampler.hpp"
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

// --- classes ----------------------------------------------------------------------------------------------------------------------------

// Of three classes with 60, 30 and 10 rows, mixed.
std::vector<int32_t> long_tail() {
  std::vector<int32_t> labels;
  for (int i = 0; i < 100; ++i) labels.push_back(i % 10 == 0 ? 7 : i % 10 < 4 ? 2 : 0);
  return labels;
}

TEST(BalancedSampler, ClassesHaveTheirSharesAndImagesComeInTurns) {
  const std::vector<int32_t> labels = long_tail();
  // shares by n^(1 - b): 60, 30, 10; their square roots 7.746, 5.477, 3.162; all alike
  const std::map<double, std::vector<uint64_t>> expected{{0, {60, 30, 10}}, {0.5, {47, 34, 19}}, {1, {34, 33, 33}}};
  for (const auto& [balance, shares] : expected) {
    const BalancedSampler sampler(labels, balance, 3);
    ASSERT_EQ(sampler.classes().size(), 3u);
    std::vector<uint64_t> visits(100);
    for (uint64_t epoch = 0; epoch < 4; ++epoch) {
      std::map<int32_t, uint64_t> of_class;
      for (uint64_t i = 0; i < 100; ++i) {
        const uint64_t row = sampler.row(100 * epoch + i);
        ASSERT_LT(row, 100u);
        ++visits[row];
        ++of_class[labels[row]];
      }
      EXPECT_EQ(of_class, (std::map<int32_t, uint64_t>{{0, shares[0]}, {2, shares[1]}, {7, shares[2]}})) << balance << ", epoch " << epoch;
    }
    for (const int32_t label : {0, 2, 7}) {
      uint64_t least = 1000, most = 0;
      for (size_t row = 0; row < 100; ++row) {
        if (labels[row] != label) continue;
        least = std::min(least, visits[row]);
        most = std::max(most, visits[row]);
      }
      EXPECT_LE(most - least, 1u) << "images of a class come in turns";
    }
  }
}

TEST(BalancedSampler, MixesTheClassesAndIsAFunctionOfThePosition) {
  const std::vector<int32_t> labels = long_tail();
  const BalancedSampler a(labels, 1, 3), b(labels, 1, 3), other(labels, 1, 4);
  int differ = 0, of_first_half = 0;
  for (uint64_t i = 300; i-- > 0;) {
    EXPECT_EQ(a.row(i), b.row(i));
    differ += a.row(i) != other.row(i);
    of_first_half += i % 100 < 50 && labels[a.row(i)] == 7;
  }
  EXPECT_GT(differ, 200);
  EXPECT_GT(of_first_half, 25);  // of 99 about a half stand in the first halves of the epochs
  EXPECT_LT(of_first_half, 75);
}

TEST(BalancedSampler, ARareClassKeepsOnePlaceAndOthersMakeRoom) {
  std::vector<int32_t> labels(1000, 0);
  for (int i = 0; i < 3; ++i) labels[static_cast<size_t>(100 * i)] = i + 1;
  const BalancedSampler sampler(labels, 0, 1);
  uint64_t all = 0;
  for (const BalancedSampler::Class& c : sampler.classes()) {
    EXPECT_GE(c.share, 1u);
    all += c.share;
  }
  EXPECT_EQ(all, 1000u);
  EXPECT_EQ(sampler.classes().front().share, 997u);
}

TEST(BalancedSampler, RefusesWhatItCannotUse) {
  const auto refusal = [](const std::vector<int32_t>& labels, double balance) -> std::string {
    try {
      BalancedSampler(labels, balance, 0);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_NE(refusal({0, -1, 1, -1}, 1).find("data.balance: expected a label for every training image, found 2 of 4 without"),
            std::string::npos);
  EXPECT_NE(refusal({0, 1}, 1.5).find("a number from 0 to 1"), std::string::npos);
  EXPECT_NE(refusal({}, 1).find("at least one sample"), std::string::npos);
  EXPECT_EQ(refusal({5}, 1), "accepted");
}

}  // namespace
}  // namespace dinoxx
