#include "data_pipeline/toy/toy.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(ToySet, LongTailInTrainBalancedElsewhere) {
  const ToySet set({.count = 6000});
  EXPECT_EQ(set.size(), 6000u);
  ASSERT_EQ(set.class_names().size(), 8u);
  std::array<std::array<int, 8>, 3> count{};
  std::set<std::string> keys;
  for (uint64_t i = 0; i < set.size(); ++i) {
    ++count[static_cast<size_t>(set.split(i))][static_cast<size_t>(set.label(i))];
    keys.insert(set.key(i));
  }
  EXPECT_EQ(keys.size(), 6000u);
  for (int c = 0; c < 8; ++c) {
    EXPECT_EQ(count[1][c], 75);
    EXPECT_EQ(count[2][c], 75);
    if (c > 0) {
      EXPECT_LT(count[0][c], count[0][c - 1]);
    }
  }
  EXPECT_NEAR(static_cast<double>(count[0][0]) / count[0][7], 10.0, 0.3);
}

TEST(ToySet, ImbalanceOneIsBalanced) {
  const ToySet set({.count = 800, .imbalance = 1});
  std::array<int, 8> count{};
  for (uint64_t i = 0; i < set.size(); ++i) count[static_cast<size_t>(set.label(i))] += set.split(i) == Split::kTrain ? 1 : 0;
  EXPECT_THAT(count, testing::Each(80));
}

TEST(ToySet, AFunctionOfSeedAndIndex) {
  const ToySet a({.count = 100, .seed = 1}), b({.count = 100, .seed = 1}), c({.count = 100, .seed = 2});
  EXPECT_EQ(a.draw(42).image.data, b.draw(42).image.data);
  EXPECT_EQ(a.draw(42).mask, b.draw(42).mask);
  EXPECT_NE(a.draw(42).image.data, c.draw(42).image.data);
  EXPECT_NE(a.draw(42).image.data, a.draw(43).image.data);
}

/// What crops of one image could recognise each other by is equal in all images: brightness and contrast of the object, no colour.
TEST(ToySet, NoCueButTheTexture) {
  for (const int size : {32, 64}) {
    const ToySet set({.count = 160, .size = size});
    for (uint64_t i = 0; i < set.size(); ++i) {
      const ToyImage toy = set.draw(i);
      ASSERT_EQ(toy.image.width, size);
      ASSERT_EQ(toy.mask.size(), static_cast<size_t>(size) * static_cast<size_t>(size));
      double sum = 0, squares = 0, n = 0;
      for (size_t p = 0; p < toy.mask.size(); ++p) {
        ASSERT_EQ(toy.image.data[3 * p], toy.image.data[3 * p + 1]);
        ASSERT_EQ(toy.image.data[3 * p], toy.image.data[3 * p + 2]);
        if (toy.mask[p] == 0) continue;
        const double v = toy.image.data[3 * p] / 255.0;
        sum += v;
        squares += v * v;
        ++n;
      }
      const double mean = sum / n, deviation = std::sqrt(squares / n - mean * mean);
      EXPECT_NEAR(mean, 0.5, 0.03) << i;
      EXPECT_NEAR(deviation, 0.28, 0.04) << i;
      EXPECT_GT(n / static_cast<double>(toy.mask.size()), 0.6) << i;
      EXPECT_LT(n / static_cast<double>(toy.mask.size()), 1.0) << i;
    }
  }
}

TEST(ToySet, ScenesAreAFunctionOfSeedAndIndex) {
  const ToySet a({.name = "scenes", .count = 100, .seed = 1}), b({.name = "scenes", .count = 100, .seed = 1}),
      c({.name = "scenes", .count = 100, .seed = 2});
  EXPECT_EQ(a.draw(42).image.data, b.draw(42).image.data);
  EXPECT_EQ(a.draw(42).mask, b.draw(42).mask);
  EXPECT_NE(a.draw(42).image.data, c.draw(42).image.data);
  EXPECT_NE(a.draw(42).image.data, a.draw(43).image.data);
  EXPECT_EQ(a.class_names().front(), "stripes_disc");
  EXPECT_EQ(a.class_names().size(), 8u);
}

/// Mean and standard deviation of the brightness, 0 to 1, and the middle of the pixels that have a mask value.
struct Part {
  Part(const ToyImage& toy, uint8_t wanted) {
    double sum = 0, squares = 0;
    for (size_t p = 0; p < toy.mask.size(); ++p) {
      if (toy.mask[p] != wanted) continue;
      const double v = (toy.image.data[3 * p] + toy.image.data[3 * p + 1] + toy.image.data[3 * p + 2]) / (3 * 255.0);
      sum += v;
      squares += v * v;
      x += static_cast<double>(p % static_cast<size_t>(toy.image.width));
      ++share;
    }
    mean = sum / share;
    deviation = std::sqrt(squares / share - mean * mean);
    x /= share * toy.image.width;
    share /= static_cast<double>(toy.mask.size());
  }
  double mean = 0, deviation = 0, x = 0, share = 0;
};

TEST(ToySet, ScenesShowAnObjectOnABackground) {
  for (const int size : {32, 64}) {
    const ToySet set({.name = "scenes", .count = 160, .size = size});
    std::array<double, 2> place{1, 0}, share{1, 0};
    double clearer = 0;
    for (uint64_t i = 0; i < set.size(); ++i) {
      const ToyImage toy = set.draw(i);
      ASSERT_EQ(toy.image.width, size);
      const Part object(toy, 255), background(toy, 0);
      EXPECT_GT(object.share, 0.15) << i;
      EXPECT_LT(object.share, 0.45) << i;
      EXPECT_NEAR(object.mean, 0.5, 0.06) << i;
      EXPECT_GT(object.deviation, 0.15) << i;
      clearer += object.deviation > 2 * background.deviation ? 1 : 0;
      place = {std::min(place[0], object.x), std::max(place[1], object.x)};
      share = {std::min(share[0], object.share), std::max(share[1], object.share)};
    }
    EXPECT_GT(clearer, 0.9 * static_cast<double>(set.size()));
    EXPECT_LT(place[0], 0.35);
    EXPECT_GT(place[1], 0.65);
    EXPECT_LT(share[0], 0.2);
    EXPECT_GT(share[1], 0.38);
  }
}

/// Colour is no sign of the class, and the mean of an object has little of it: its dark parts have the opposite hue of its bright ones.
TEST(ToySet, ColoursOfScenesSayNothingOfTheClass) {
  const ToySet set({.name = "scenes", .count = 800, .imbalance = 1});
  std::array<double, 8> bright{}, count{};
  double widest = 0;
  for (uint64_t i = 0; i < set.size(); ++i) {
    const ToyImage toy = set.draw(i);
    std::array<double, 2> redder{}, n{};  // dark, bright
    for (size_t p = 0; p < toy.mask.size(); ++p) {
      if (toy.mask[p] == 0) continue;
      const size_t part = toy.image.data[3 * p + 1] > 127 ? 1 : 0;
      redder[part] += (toy.image.data[3 * p] - toy.image.data[3 * p + 2]) / 255.0;
      n[part] += 1;
    }
    EXPECT_LT(std::abs(redder[0] + redder[1]) / (n[0] + n[1]), 0.1) << i;
    widest = std::max(widest, std::abs(redder[1] / n[1]));
    bright[static_cast<size_t>(set.label(i))] += redder[1] / n[1];
    count[static_cast<size_t>(set.label(i))] += 1;
  }
  for (size_t c = 0; c < 8; ++c) EXPECT_NEAR(bright[c] / count[c], 0.0, 0.04) << c;
  EXPECT_GT(widest, 0.15);
}

TEST(ToySet, RefusesWhatItCannotDraw) {
  EXPECT_THAT([] { ToySet({.name = "faces"}); }, ThrowsMessage<UsageError>(HasSubstr("\"textures\" or \"scenes\"")));
  EXPECT_THAT([] { ToySet({.count = 79}); }, ThrowsMessage<UsageError>(HasSubstr("80 images or more")));
  EXPECT_THAT([] { ToySet({.size = 4}); }, ThrowsMessage<UsageError>(HasSubstr("8 to 4096")));
  EXPECT_THAT([] { ToySet({.imbalance = 0.5}); }, ThrowsMessage<UsageError>(HasSubstr("imbalance")));
}

}  // namespace
}  // namespace dinoxx
