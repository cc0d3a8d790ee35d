#include "data_pipeline/augment/masks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

std::vector<uint64_t> consecutive(uint64_t first, size_t count) {
  std::vector<uint64_t> positions(count);
  std::iota(positions.begin(), positions.end(), first);
  return positions;
}

std::vector<uint8_t> masks_of(const MaskSpec& spec, int rows, int columns, int views, const std::vector<uint64_t>& positions,
                              uint64_t seed = 3) {
  std::vector<uint8_t> out{7, 7, 7};  // contents from before do not matter
  make_masks(spec, rows, columns, views, positions, seed, out);
  return out;
}

/// Masked patches of each crop, [view][slot].
std::vector<int> counts_of(const std::vector<uint8_t>& masks, int patches) {
  std::vector<int> counts;
  for (size_t at = 0; at < masks.size(); at += static_cast<size_t>(patches))
    counts.push_back(std::accumulate(masks.begin() + static_cast<ptrdiff_t>(at), masks.begin() + static_cast<ptrdiff_t>(at) + patches, 0));
  return counts;
}

MaskSpec strata(MaskKind kind, int group_size) {
  MaskSpec spec;
  spec.kind = kind;
  spec.group_size = group_size;
  return spec;
}

TEST(Masks, Dinov3MasksTheUpperEdgeOfEachStratumExactly) {
  for (const bool shift : {false, true}) {
    MaskSpec spec = strata(MaskKind::kDinov3, 8);
    spec.shift = shift;
    for (uint64_t first = 0; first < 400; first += 8) {
      std::vector<int> counts = counts_of(masks_of(spec, 14, 14, 2, consecutive(first, 8)), 196);
      ASSERT_EQ(counts.size(), 16u);
      std::sort(counts.begin(), counts.end());
      // half of 16 crops; 196 * (.1 + .05 k), k = 1 .. 8
      EXPECT_EQ(counts, (std::vector<int>{0, 0, 0, 0, 0, 0, 0, 0, 29, 39, 49, 58, 68, 78, 88, 98}));
    }
  }
}

TEST(Masks, Dinov2StaysInOrBelowItsStratum) {
  const MaskSpec spec = strata(MaskKind::kDinov2, 8);
  int at_least_the_lower_edge = 0, masks = 0;
  for (uint64_t first = 0; first < 400; first += 8) {
    std::vector<int> counts = counts_of(masks_of(spec, 14, 14, 2, consecutive(first, 8)), 196);
    std::sort(counts.begin(), counts.end());
    EXPECT_EQ(counts[7], 0);
    for (int i = 0; i < 8; ++i) {
      EXPECT_LE(counts[static_cast<size_t>(8 + i)], 196 * (0.1 + 0.05 * (i + 1)));
      at_least_the_lower_edge += counts[static_cast<size_t>(8 + i)] >= std::floor(196 * (0.1 + 0.05 * i));
      ++masks;
    }
  }
  EXPECT_GT(at_least_the_lower_edge, 0.98 * masks);  // a few run out of attempts
}

// Each crop of a group is masked with probability 1/2. Fixed seed; another one would fail by chance with probability below 1e-8: 16 counts
// of 2,000 fair draws, six standard deviations.
TEST(Masks, StrataAreShuffledOverTheGroup) {
  const MaskSpec spec = strata(MaskKind::kDinov3, 8);
  const int groups = 2000;
  std::vector<int> masked(16), largest(16);
  for (int g = 0; g < groups; ++g) {
    const std::vector<int> counts = counts_of(masks_of(spec, 6, 6, 2, consecutive(8 * static_cast<uint64_t>(g), 8)), 36);
    for (size_t i = 0; i < 16; ++i) masked[i] += counts[i] > 0, largest[i] += counts[i] == 18;
  }
  const double deviation = std::sqrt(groups * 0.25), rare = std::sqrt(groups * 15.0 / 256);
  for (size_t i = 0; i < 16; ++i) {
    EXPECT_NEAR(masked[i], groups / 2, 6 * deviation) << i;
    EXPECT_NEAR(largest[i], groups / 16.0, 6 * rare) << i;
  }
}

TEST(Masks, DoNotDependOnRanks) {
  MaskSpec block = strata(MaskKind::kIbotBlock, 1);
  block.ratios = {0.0, 0.3};
  block.variances = {0.0, 0.2};
  for (const MaskSpec& spec : {strata(MaskKind::kDinov2, 4), strata(MaskKind::kDinov3, 4), block}) {
    const std::vector<uint8_t> whole = masks_of(spec, 7, 9, 2, consecutive(1000, 24));
    for (const size_t ranks : {2u, 3u, 6u}) {
      const size_t local = 24 / ranks;
      for (size_t rank = 0; rank < ranks; ++rank) {
        const std::vector<uint8_t> part = masks_of(spec, 7, 9, 2, consecutive(1000 + rank * local, local));
        for (size_t view = 0; view < 2; ++view)
          EXPECT_TRUE(std::equal(part.begin() + static_cast<ptrdiff_t>(view * local * 63),
                                 part.begin() + static_cast<ptrdiff_t>((view + 1) * local * 63),
                                 whole.begin() + static_cast<ptrdiff_t>((view * 24 + rank * local) * 63)))
              << "rank " << rank << " of " << ranks;
      }
    }
    EXPECT_NE(masks_of(spec, 7, 9, 2, consecutive(1000, 24), 4), whole) << "another seed";
    EXPECT_NE(masks_of(spec, 7, 9, 2, consecutive(1024, 24)), whole) << "another step";
  }
}

// Rectangles reach the corners less often than the middle; moved around the edges, every patch is as likely. Six standard deviations.
TEST(Masks, AShiftMakesAllPlacesAlike) {
  MaskSpec spec = strata(MaskKind::kDinov3, 1);
  spec.probability = 1;
  spec.ratio_min = spec.ratio_max = 0.3;
  const size_t samples = 6000;
  for (const bool shift : {false, true}) {
    spec.shift = shift;
    const std::vector<uint8_t> masks = masks_of(spec, 8, 8, 1, consecutive(0, samples));
    std::vector<double> share(64);
    for (size_t i = 0; i < masks.size(); ++i) share[i % 64] += masks[i] / static_cast<double>(samples);
    const double expected = 19.0 / 64, deviation = std::sqrt(expected * (1 - expected) / static_cast<double>(samples));
    if (shift) {
      for (const double s : share) EXPECT_NEAR(s, expected, 6 * deviation);
    } else {
      EXPECT_LT(share[0], expected - 6 * deviation);
      EXPECT_GT(share[27], expected + 6 * deviation);
    }
  }
}

TEST(Masks, IbotDrawsARatioForEachCrop) {
  MaskSpec spec;
  spec.kind = MaskKind::kIbotRandom;
  spec.ratios = {0.0, 0.3};
  spec.variances = {0.0, 0.2};
  const std::vector<int> counts = counts_of(masks_of(spec, 14, 14, 2, consecutive(0, 2000)), 196);
  int empty = 0, smallest = 196, largest = 0;
  double sum = 0;
  for (const int count : counts) {
    empty += count == 0;
    if (count == 0) continue;
    smallest = std::min(smallest, count);
    largest = std::max(largest, count);
    sum += count;
  }
  EXPECT_NEAR(empty, 2000, 6 * std::sqrt(1000.0));
  EXPECT_TRUE(smallest >= 19 && smallest <= 21 && largest <= 98 && largest >= 96) << smallest << " to " << largest;
  EXPECT_NEAR(sum / (4000 - empty), 58.3, 6 * 22.6 / std::sqrt(2000.0));  // U(19.6, 98), rounded down

  spec.kind = MaskKind::kIbotBlock;
  for (const int count : counts_of(masks_of(spec, 14, 14, 2, consecutive(0, 500)), 196)) EXPECT_LE(count, 98);
}

TEST(Masks, TinyGrids) {
  MaskSpec spec = strata(MaskKind::kDinov3, 2);
  std::vector<int> counts = counts_of(masks_of(spec, 2, 2, 2, consecutive(0, 2)), 4);
  std::sort(counts.begin(), counts.end());
  EXPECT_EQ(counts, (std::vector<int>{0, 0, 1, 2}));
  spec.ratio_max = 1.0;  // everything may be masked
  counts = counts_of(masks_of(spec, 4, 4, 2, consecutive(0, 2)), 16);
  EXPECT_EQ(*std::max_element(counts.begin(), counts.end()), 16);
  spec = strata(MaskKind::kDinov2, 1);
  for (uint64_t position = 0; position < 200; ++position) {
    counts = counts_of(masks_of(spec, 4, 4, 2, consecutive(position, 1)), 16);
    EXPECT_EQ(std::min(counts[0], counts[1]), 0);
    EXPECT_LE(std::max(counts[0], counts[1]), 8);
  }
  spec = strata(MaskKind::kIbotRandom, 1);
  EXPECT_EQ(counts_of(masks_of(spec, 1, 5, 1, consecutive(0, 1)), 5), (std::vector<int>{1}));
}

TEST(Masks, RefuseWhatTheyCannotDo) {
  const auto refused = [](MaskSpec spec, int rows, int columns, int64_t slots, const char* why) {
    EXPECT_THAT([&] { check_masks(spec, rows, columns, 2, slots); }, ThrowsMessage<UsageError>(HasSubstr(why)));
  };
  const MaskSpec good = strata(MaskKind::kDinov2, 4);
  EXPECT_NO_THROW(check_masks(good, 14, 14, 2, 8));
  refused(good, 1, 1, 8, "a grid of at least 2 x 2 patches, found 1 x 1");
  refused(good, 1, 16, 8, "a grid of at least 2 x 2 patches");
  refused(strata(MaskKind::kIbotRandom, 1), 1, 1, 8, "a grid of at least 2 patches");
  refused(good, 14, 14, 6, "mask group size");
  MaskSpec spec = good;
  spec.ratio_max = 1.1;
  refused(spec, 14, 14, 8, "0 <= smallest <= largest <= 1");
  spec.ratio_max = 0.05;
  refused(spec, 14, 14, 8, "0 <= smallest <= largest <= 1");
  spec = good;
  spec.ratio_min = spec.ratio_max = 0.2;
  refused(spec, 2, 2, 8, "at least one of 4 patches");
  spec = good;
  spec.probability = 0;
  refused(spec, 14, 14, 8, "a share above 0");
  spec.probability = 0.1;
  refused(spec, 14, 14, 8, "at least one of the 8 global crops");
  spec = strata(MaskKind::kIbotBlock, 1);
  spec.ratios = {};
  refused(spec, 14, 14, 8, "at least one");
  spec.ratios = {0.3, 0.5};
  spec.variances = {0.1, 0.1, 0.1};
  refused(spec, 14, 14, 8, "one variance for all or one for each");
  spec.variances = {0.4};
  refused(spec, 14, 14, 8, "0.3 +- 0.4");
  EXPECT_THAT([] { mask_kind("dinov4"); }, ThrowsMessage<UsageError>(HasSubstr("Did you mean dinov2?")));
  EXPECT_EQ(mask_kind("ibot-random"), MaskKind::kIbotRandom);
}

}  // namespace
}  // namespace dinoxx
