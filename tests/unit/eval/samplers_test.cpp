// Epochs of training on labels: exact shares where the sampler promises them, bounds with a known chance of failure where it draws.
#include "eval/classify/samplers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "dinoxx/base/error.hpp"

namespace dinoxx::eval {
namespace {

constexpr int kClasses = 5;
const std::vector<int64_t> kCounts{700, 200, 90, 0, 10};  // class 3 is absent

std::vector<int32_t> long_tail() {
  std::vector<int32_t> labels;
  for (int c = 0; c < kClasses; ++c) labels.insert(labels.end(), kCounts[c], c);
  return labels;
}

std::vector<int64_t> drawn_of_image(const std::vector<uint64_t>& epoch, size_t images) {
  std::vector<int64_t> times(images);
  for (const uint64_t row : epoch) ++times.at(row);
  return times;
}

std::vector<int64_t> drawn_of_class(const std::vector<uint64_t>& epoch, const std::vector<int32_t>& labels) {
  std::vector<int64_t> drawn(kClasses);
  for (const uint64_t row : epoch) ++drawn[labels[row]];
  return drawn;
}

TEST(Samplers, UniformShowsEachImageOnceInAnOrderOfItsOwn) {
  const std::vector<int32_t> labels = long_tail();
  const auto first = draw_epoch(SamplerKind::kUniform, labels, kClasses, 7, 0);
  EXPECT_EQ(drawn_of_image(first, labels.size()), std::vector<int64_t>(labels.size(), 1));
  EXPECT_EQ(first, draw_epoch(SamplerKind::kUniform, labels, kClasses, 7, 0));
  // of 1000 places of a random order one is expected to agree with another's (Poisson); 12 or more have a chance below 1e-9
  const auto agree = [&](const std::vector<uint64_t>& other) {
    int same = 0;
    for (size_t i = 0; i < first.size(); ++i) same += first[i] == other[i];
    return same;
  };
  std::vector<uint64_t> in_order(labels.size());
  for (size_t i = 0; i < in_order.size(); ++i) in_order[i] = i;
  EXPECT_LT(agree(in_order), 12);
  EXPECT_LT(agree(draw_epoch(SamplerKind::kUniform, labels, kClasses, 7, 1)), 12);
  EXPECT_LT(agree(draw_epoch(SamplerKind::kUniform, labels, kClasses, 8, 0)), 12);
}

TEST(Samplers, ClassBalancedGivesEachPresentClassAnEqualPartAndEachImageOfAClassAnEqualPart) {
  const std::vector<int32_t> labels = long_tail();
  std::vector<int64_t> over_epochs(labels.size());
  for (int64_t epoch = 0; epoch < 20; ++epoch) {
    const auto order = draw_epoch(SamplerKind::kClassBalanced, labels, kClasses, 3, epoch);
    ASSERT_EQ(order.size(), labels.size());
    EXPECT_EQ(drawn_of_class(order, labels), (std::vector<int64_t>{250, 250, 250, 0, 250}));
    const auto times = drawn_of_image(order, labels.size());
    for (size_t row = 0; row < labels.size(); ++row) {
      const double equal = 250.0 / static_cast<double>(kCounts[labels[row]]);
      EXPECT_TRUE(times[row] == std::floor(equal) || times[row] == std::ceil(equal)) << row << ": " << times[row];
      over_epochs[row] += times[row];
    }
  }
  // Class 0 shows 250 of 700 images an epoch: binomial(20, 0.357) for each image. None left out in 20 epochs (chance of one: 0.1), and none
  // always in: P(17 or more) < 4e-6 each
  int left_out = 0;
  for (int row = 0; row < 700; ++row) {
    left_out += over_epochs[row] == 0;
    EXPECT_LT(over_epochs[row], 18);
  }
  EXPECT_LE(left_out, 5);
}

// Every part of an epoch is balanced, not the whole alone: any 4 consecutive draws that begin at a multiple of 4 show all 4 classes.
TEST(Samplers, ClassBalancedPassesOverTheClasses) {
  const std::vector<int32_t> labels = long_tail();
  const auto order = draw_epoch(SamplerKind::kClassBalanced, labels, kClasses, 3, 0);
  std::set<std::vector<int32_t>> orders;
  for (size_t i = 0; i + 4 <= order.size(); i += 4) {
    std::vector<int32_t> pass;
    for (size_t j = i; j < i + 4; ++j) pass.push_back(labels[order[j]]);
    orders.insert(pass);
    std::sort(pass.begin(), pass.end());
    EXPECT_EQ(pass, (std::vector<int32_t>{0, 1, 2, 4}));
  }
  EXPECT_EQ(orders.size(), 24U);  // 250 passes miss one of 24 orders with chance 24 (23/24)^250 = 6e-4 for a seed
}

TEST(Samplers, RepeatFactorIsTheSquareRootOfThresholdOverShare) {
  const std::vector<int32_t> labels = long_tail();
  constexpr double kThreshold = 0.25;
  constexpr int64_t kEpochs = 40;
  std::vector<int64_t> drawn(kClasses);
  for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    const auto order = draw_epoch(SamplerKind::kRepeatFactor, labels, kClasses, 11, epoch, kThreshold);
    const auto of_class = drawn_of_class(order, labels);
    const auto times = drawn_of_image(order, labels.size());
    for (int c = 0; c < kClasses; ++c) drawn[c] += of_class[c];
    for (size_t row = 0; row < labels.size(); ++row) {
      const double factor = std::max(1.0, std::sqrt(kThreshold * 1000 / static_cast<double>(kCounts[labels[row]])));
      EXPECT_TRUE(times[row] == std::floor(factor) || times[row] == std::ceil(factor)) << row;
    }
  }
  EXPECT_EQ(drawn[0], kEpochs * 700);  // shares above the threshold: once each, no chance in it
  for (const int c : {1, 2, 4}) {
    const double factor = std::sqrt(kThreshold * 1000 / static_cast<double>(kCounts[c])), part = factor - std::floor(factor);
    const auto images = static_cast<double>(kEpochs * kCounts[c]);
    // 5 standard deviations of a binomial: chance below 1e-6
    EXPECT_NEAR(static_cast<double>(drawn[c]), images * factor, 5 * std::sqrt(images * part * (1 - part))) << c;
  }
  EXPECT_EQ(draw_epoch(SamplerKind::kRepeatFactor, labels, kClasses, 11, 0),
            draw_epoch(SamplerKind::kRepeatFactor, labels, kClasses, 11, 0, 0.2));
}

// Copies of an image lie apart: the list is shuffled, not the images.
TEST(Samplers, RepeatsAreShuffled) {
  const std::vector<int32_t> labels = long_tail();
  const auto order = draw_epoch(SamplerKind::kRepeatFactor, labels, kClasses, 5, 0, 1.0);
  int beside = 0;
  for (size_t i = 1; i < order.size(); ++i) beside += order[i] == order[i - 1];
  // class 4: 10 images 10 times, class 2 and 1: 90 and 200 images 3.3 and 2.2 times: under 2 pairs expected of some 1900 places
  EXPECT_LT(beside, 12);
}

TEST(Samplers, Refusals) {
  const std::vector<int32_t> labels{0, 1, 5};
  EXPECT_THROW(draw_epoch(SamplerKind::kUniform, labels, kClasses, 0, 0), Error);
  EXPECT_THROW(draw_epoch(SamplerKind::kUniform, std::vector<int32_t>{-1}, kClasses, 0, 0), Error);
  EXPECT_THROW(draw_epoch(SamplerKind::kUniform, std::vector<int32_t>{}, kClasses, 0, 0), Error);
  EXPECT_THROW(draw_epoch(SamplerKind::kRepeatFactor, std::vector<int32_t>{0}, kClasses, 0, 0, 1.5), Error);
}

}  // namespace
}  // namespace dinoxx::eval
