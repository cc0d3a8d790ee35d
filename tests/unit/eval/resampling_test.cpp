#include "eval/statistics/resampling.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
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
  const auto interval = percentile_interval(values).value;
  ASSERT_TRUE(interval);
  EXPECT_NEAR(interval->high - interval->low, 2 * 1.96 * expected, 0.12 * 2 * 1.96 * expected);
}

TEST(Bootstrap, ScoresOfTheWholeSetWhenEachImageIsDrawnOnce) {
  const std::vector<int32_t> labels = repeated({4, 3, 2}), predictions{0, 0, 1, 0, 1, 1, 2, 2, 0};
  const Tally t = tally(labels, predictions, 3);
  const auto scores = resampled_scores(labels, predictions, std::vector<uint32_t>(9, 1), 3);
  EXPECT_EQ(scores[0], accuracy(t).value.value());
  EXPECT_EQ(scores[1], balanced_accuracy(t).value.value());
  EXPECT_EQ(scores[2], macro_f1(t).value.value());
  EXPECT_EQ(scores[3], matthews(t).value.value());
}

TEST(Bootstrap, NoIntervalFromValuesThatAreMostlyUndefined) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const std::vector<double>& values : {std::vector<double>{nan, nan, 0.5}, std::vector<double>{}}) {
    EXPECT_FALSE(percentile_interval(values).value);
    EXPECT_EQ(percentile_interval(values).reason, "undefined in more than half of the bootstrap resamples");
  }
  const auto interval = percentile_interval({nan, 0.5, 0.6}).value;
  ASSERT_TRUE(interval);
  EXPECT_DOUBLE_EQ(interval->low, 0.5025);
}

TEST(Bootstrap, NoIntervalFromResamplesThatAreAllEqual) {
  // one test image of each class: each resample is the set itself, whatever the answers
  const std::vector<int32_t> labels{0, 1, 2}, predictions{0, 1, 1};
  const Resampler resampler(labels, {}, 3, 0);
  for (int score = 0; score < kResampledScores; ++score) {
    std::vector<double> values;
    for (int64_t r = 0; r < 50; ++r) values.push_back(resampled_scores(labels, predictions, resampler.counts(r), 3)[score]);
    const PercentileInterval interval = percentile_interval(values);
    EXPECT_FALSE(interval.value) << kResampledNames[score];
    EXPECT_THAT(interval.reason, testing::HasSubstr("the same value"));
    nlohmann::json row;
    put(row, "mcc", interval);
    EXPECT_EQ(row, nlohmann::json({{"mcc", nullptr}, {"undefined", {{"mcc", interval.reason}}}}));
  }
  EXPECT_FALSE(percentile_interval({0.1 + 0.2, 0.3, 0.3}).value);  // equal but for rounding
  EXPECT_TRUE(percentile_interval({0.3, 0.3, 0.3 + 1e-6}).value);
}

TEST(Bootstrap, ClassesWithoutSpreadAreSaidWhereTheyMatter) {
  const auto note = [](const std::vector<int>& counts, const std::vector<int>& right) {
    std::vector<int8_t> values;
    for (size_t c = 0; c < counts.size(); ++c)
      for (int i = 0; i < counts[c]; ++i) values.push_back(i < right[c]);
    return note_on_spread(repeated(counts), values, static_cast<int>(counts.size()));
  };
  EXPECT_EQ(note({10, 0, 10}, {9, 0, 1}), "");
  // Wilson: 0 of 1 is [0, 0.7935]; of two classes that is 39.7 points
  EXPECT_EQ(note({1, 0, 10}, {1, 0, 5}),
            "too narrow: 1 of 2 classes with test images (1 of one test image) are the same in every resample; by their Wilson intervals "
            "that leaves about 39.7 points of the balanced accuracy open");
  EXPECT_THAT(note({5, 5}, {5, 0}), testing::HasSubstr("2 of 2 classes with test images are the same"));
  EXPECT_THAT(note({200, 200}, {200, 150}), testing::HasSubstr("about 0.9 points"));
  EXPECT_EQ(note({2000, 200}, {2000, 150}), "");  // 0.1 points
  const std::vector<int32_t> labels = repeated({3, 3});
  EXPECT_EQ(note_on_spread(labels, std::vector<int8_t>{-1, 0, 1, 0, 1, 0}, 2), "");
  EXPECT_THAT(note_on_spread(labels, std::vector<int8_t>{-1, -1, -1, 0, 1, 0}, 2), testing::HasSubstr("1 of 2 classes"));
}

TEST(Intervals, OneValueHasNone) {
  EXPECT_FALSE(t_interval(std::vector<double>{0.5}).half_width.value);
  EXPECT_EQ(t_interval(std::vector<double>{0.5}).mean, 0.5);
}

}  // namespace
}  // namespace dinoxx::eval
