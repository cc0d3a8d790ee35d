#include "eval/statistics/metrics.hpp"

#include <gtest/gtest.h>

namespace dinoxx::eval {
namespace {

TEST(Metrics, CountsByHand) {
  // labels 0 0 0 1; class 2 has no query
  const std::vector<int32_t> labels{0, 0, 0, 1};
  const std::vector<int32_t> ranked{0, 1, -1, 0, 1, -1, 1, 0, 2, 2, -1, -1};  // width 3
  const Scores scores = score(labels, ranked, 3, 3);
  EXPECT_EQ(scores.count, 4);
  EXPECT_EQ(scores.correct, 2);
  EXPECT_EQ(scores.correct_top5, 3);
  EXPECT_DOUBLE_EQ(scores.accuracy(), 0.5);
  EXPECT_DOUBLE_EQ(scores.top5(), 0.75);
  ASSERT_EQ(scores.classes.size(), 3u);
  EXPECT_EQ(scores.classes[0].support, 3);
  EXPECT_EQ(scores.classes[0].correct, 2);
  EXPECT_EQ(scores.classes[1].correct, 0);
  EXPECT_EQ(scores.classes[2].support, 0);
  EXPECT_DOUBLE_EQ(scores.balanced_accuracy(), (2.0 / 3.0 + 0.0) / 2.0);  // not over three classes
}

TEST(Metrics, TopFiveLooksAtFive) {
  const std::vector<int32_t> labels{9};
  EXPECT_EQ(score(labels, std::vector<int32_t>{1, 2, 3, 4, 5, 9}, 6, 10).correct_top5, 0);
  EXPECT_EQ(score(labels, std::vector<int32_t>{1, 2, 3, 4, 9, 5}, 6, 10).correct_top5, 1);
}

TEST(Metrics, WilsonIntervalMatchesPublishedValues) {
  // 2 of 3: [.2077, .9385]; 0 of 10: [0, .2775]; 10 of 10: [.7225, 1] (statsmodels proportion_confint, method="wilson")
  EXPECT_NEAR(wilson_interval(2, 3).first, 0.20765, 1e-5);
  EXPECT_NEAR(wilson_interval(2, 3).second, 0.93851, 1e-5);
  EXPECT_NEAR(wilson_interval(0, 10).first, 0.0, 1e-12);
  EXPECT_NEAR(wilson_interval(0, 10).second, 0.27753, 1e-5);
  EXPECT_NEAR(wilson_interval(10, 10).first, 0.72247, 1e-5);
  EXPECT_NEAR(wilson_interval(10, 10).second, 1.0, 1e-12);
  EXPECT_EQ(wilson_interval(0, 0), std::make_pair(0.0, 1.0));
  for (int64_t n = 1; n <= 200; ++n) {
    EXPECT_EQ(wilson_interval(0, n).first, 0.0) << n;
    EXPECT_EQ(wilson_interval(n, n).second, 1.0) << n;
  }
}

}  // namespace
}  // namespace dinoxx::eval
