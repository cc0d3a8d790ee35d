#include "dinoxx/eval/resampling.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <numeric>

namespace dinoxx::eval {
namespace {

std::vector<int32_t> repeated(const std::vector<int>& counts) {
  std::vector<int32_t> labels;
  for (size_t c = 0; c < counts.size(); ++c) labels.insert(labels.end(), counts[c], static_cast<int32_t>(c));
  return labels;
}

TEST(Resampler, EachClassKeepsItsNumberOfImagesAndTheDrawIsAFunctionOfSeedAndIndex) {
  const std::vector<int32_t> labels = repeated({7, 1, 0, 30});
  const Resampler resampler(labels, {}, 4, 5);
  EXPECT_FALSE(resampler.by_group());
  for (int64_t r = 0; r < 20; ++r) {
    const std::vector<uint32_t> counts = resampler.counts(r);
    EXPECT_EQ(std::accumulate(counts.begin(), counts.begin() + 7, 0u), 7u);
    EXPECT_EQ(counts[7], 1u);
    EXPECT_EQ(std::accumulate(counts.begin() + 8, counts.end(), 0u), 30u);
    EXPECT_EQ(counts, Resampler(labels, {}, 4, 5).counts(r));
  }
  EXPECT_NE(resampler.counts(0), resampler.counts(1));
  EXPECT_NE(resampler.counts(0), Resampler(labels, {}, 4, 6).counts(0));
}

TEST(Resampler, ImagesOfOneGroupAreDrawnTogether) {
  const std::vector<int32_t> labels{0, 1, 0, 1, 0, 1};
  const std::vector<uint64_t> groups{9, 9, 4, 4, 0, 0};  // two groups of two, two images by themselves
  const Resampler resampler(labels, groups, 2, 0);
  EXPECT_TRUE(resampler.by_group());
  bool varied = false;
  for (int64_t r = 0; r < 50; ++r) {
    const std::vector<uint32_t> counts = resampler.counts(r);
    EXPECT_EQ(counts[0], counts[1]);
    EXPECT_EQ(counts[2], counts[3]);
    EXPECT_EQ(counts[0] + counts[2] + counts[4] + counts[5], 4u);
    varied |= counts[4] != counts[5];
  }
  EXPECT_TRUE(varied);
}

TEST(Bootstrap, SpreadIsThatOfTheBinomial) {
  // 70 of 100 right in one class, 10 of 50 in the other: stratified variance of the accuracy is sum n_c p_c (1 - p_c) / N^2
  const std::vector<int32_t> labels = repeated({100, 50});
  std::vector<int32_t> predictions(150, 1);
  std::fill(predictions.begin(), predictions.begin() + 70, 0);
  std::fill(predictions.begin() + 110, predictions.end(), 0);
  const Resampler resampler(labels, {}, 2, 1);
  std::vector<double> values;
  for (int64_t r = 0; r < kResamples; ++r) values.push_back(resampled_scores(labels, predictions, resampler.counts(r), 2)[0]);
  const MeanInterval spread = t_interval(values);
  const double expected = std::sqrt(100 * 0.7 * 0.3 + 50 * 0.2 * 0.8) / 150;
  EXPECT_NEAR(spread.mean, 80.0 / 150, 4 * expected / std::sqrt(kResamples));
  EXPECT_NEAR(spread.deviation, expected, 0.05 * expected);
  const auto interval = percentile_interval(values);
  ASSERT_TRUE(interval);
  EXPECT_NEAR(interval->high - interval->low, 2 * 1.96 * expected, 0.12 * 2 * 1.96 * expected);
}

TEST(Bootstrap, ScoresOfTheWholeSetWhenEachImageIsDrawnOnce) {
  const std::vector<int32_t> labels = repeated({4, 3, 2}), predictions{0, 0, 1, 0, 1, 1, 2, 2, 0};
  const Tally t = tally(labels, predictions, 3);
  const auto scores = resampled_scores(labels, predictions, std::vector<uint32_t>(9, 1), 3);
  EXPECT_EQ(scores[0], *accuracy(t).value);
  EXPECT_EQ(scores[1], *balanced_accuracy(t).value);
  EXPECT_EQ(scores[2], *macro_f1(t).value);
  EXPECT_EQ(scores[3], *matthews(t).value);
}

TEST(Bootstrap, NoIntervalFromValuesThatAreMostlyUndefined) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(percentile_interval({nan, nan, 0.5}));
  EXPECT_FALSE(percentile_interval({}));
  const auto interval = percentile_interval({nan, 0.5, 0.5});
  ASSERT_TRUE(interval);
  EXPECT_EQ(interval->low, 0.5);
}

TEST(Intervals, OneValueHasNone) {
  EXPECT_FALSE(t_interval(std::vector<double>{0.5}).half_width.value);
  EXPECT_EQ(t_interval(std::vector<double>{0.5}).mean, 0.5);
}

}  // namespace
}  // namespace dinoxx::eval
