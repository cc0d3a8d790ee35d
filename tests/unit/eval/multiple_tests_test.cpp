#include "eval/statistics/multiple_tests.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "eval/statistics/resampling.hpp"

namespace dinoxx::eval {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(Holm, StepsDownFromTheSmallestAndNeverFalls) {
  // sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 = 0.04, 0.06, 0.06, 0.04 -> the last is lifted to 0.06
  const std::vector<std::optional<double>> p{0.03, 0.01, 0.04, 0.02};
  const auto adjusted = holm(p);
  EXPECT_DOUBLE_EQ(adjusted[1].value(), 0.04);
  EXPECT_DOUBLE_EQ(adjusted[3].value(), 0.06);
  EXPECT_DOUBLE_EQ(adjusted[0].value(), 0.06);
  EXPECT_DOUBLE_EQ(adjusted[2].value(), 0.06);
}

TEST(Holm, StopsAtOneAndTestsThatWereNotMadeDoNotCount) {
  const std::vector<std::optional<double>> p{0.5, std::nullopt, 0.9, 0.01};
  const auto adjusted = holm(p);
  EXPECT_DOUBLE_EQ(adjusted[3].value(), 0.03);  // of three
  EXPECT_DOUBLE_EQ(adjusted[0].value(), 1.0);
  EXPECT_DOUBLE_EQ(adjusted[2].value(), 1.0);
  EXPECT_FALSE(adjusted[1]);
  EXPECT_TRUE(holm({}).empty());
  EXPECT_DOUBLE_EQ(holm(std::vector<std::optional<double>>{0.2})[0].value(), 0.2);
}

TEST(BootstrapP, CountsTheRarerSide) {
  std::vector<double> differences(99, 0.1);
  EXPECT_DOUBLE_EQ(bootstrap_p(differences).value(), 0.02);  // 2 (1 + 0) / 100
  for (int i = 0; i < 3; ++i) differences[static_cast<size_t>(i)] = -0.1;
  EXPECT_DOUBLE_EQ(bootstrap_p(differences).value(), 0.08);  // 2 (1 + 3) / 100
  differences[5] = 0;                                        // on both sides
  EXPECT_DOUBLE_EQ(bootstrap_p(differences).value(), 0.10);
  EXPECT_DOUBLE_EQ(bootstrap_p(std::vector<double>(10, 0.0)).value(), 1.0);
}

TEST(BootstrapP, UndefinedResamplesAreLeftOut) {
  EXPECT_DOUBLE_EQ(bootstrap_p(std::vector<double>{0.1, 0.1, 0.1, kNaN}).value(), 0.5);  // 2 (1 + 0) / 4
  EXPECT_FALSE(bootstrap_p(std::vector<double>{0.1, kNaN, kNaN}));
  EXPECT_FALSE(bootstrap_p({}));
}

TEST(PairedMean, IsStudentsTest) {
  // mean 3, deviation sqrt(2.5), error sqrt(0.5): t = 4.2426 with 4 degrees of freedom, two-sided p = 0.0132356 (tables: 0.0132)
  const auto found = paired_mean(std::vector<double>{1, 2, 3, 4, 5});
  ASSERT_TRUE(found);
  EXPECT_DOUBLE_EQ(found->mean, 3);
  EXPECT_NEAR(found->p, 0.0132356, 1e-7);
  EXPECT_NEAR(found->low, 3 - 2.776445 * std::sqrt(0.5), 1e-6);
  EXPECT_NEAR(found->high, 3 + 2.776445 * std::sqrt(0.5), 1e-6);
}

TEST(PairedMean, FoldsThatShareImagesMakeItLessSure) {
  const std::vector<double> differences{1, 2, 3, 4, 5};
  const auto plain = paired_mean(differences), folds = paired_mean(differences, 0.25);
  // error sqrt(2.5) sqrt(1/5 + 1/4): t = 2.8284 with 4 degrees of freedom
  EXPECT_NEAR(folds->p, 0.0474207, 1e-7);
  EXPECT_GT(folds->high - folds->low, plain->high - plain->low);
  EXPECT_FALSE(paired_mean(std::vector<double>{2, 2, 2}));
  EXPECT_FALSE(paired_mean(std::vector<double>{2}));
}

TEST(McNemarExact, HandComputed) {
  // 1 against 6 of 7 discordant images: 2 (C(7,0) + C(7,1)) / 2^7 = 16 / 128
  const std::vector<int32_t> labels(10, 0), first{0, 1, 1, 1, 1, 1, 1, 0, 0, 1}, second{1, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  const McNemar test = mcnemar(labels, first, second);
  EXPECT_EQ(test.only_first, 1);
  EXPECT_EQ(test.only_second, 6);
  EXPECT_NEAR(test.p, 0.125, 1e-12);
}

}  // namespace
}  // namespace dinoxx::eval
