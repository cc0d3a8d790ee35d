#include "data_pipeline/augment/views.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

#include "dinoxx/base/error.hpp"
#include "memory_dataset.hpp"

namespace dinoxx {
namespace {

using testing_support::make_image;

bool operator==(const Box& a, const Box& b) {
  return a.x == b.x && a.y == b.y && a.width == b.width && a.height == b.height;
}

TEST(DinoV1Views, AreThePublishedOnes) {
  const ViewPlan plan = dino_v1_views({});
  ASSERT_EQ(plan.views.size(), 10u);
  EXPECT_EQ(plan.global_count(), 2);
  const double blur[] = {1.0, 0.1, 0.5}, solarize[] = {0.0, 0.2, 0.0};
  for (size_t i = 0; i < plan.views.size(); ++i) {
    const ViewSpec& view = plan.views[i];
    const size_t kind = std::min<size_t>(i, 2);
    EXPECT_EQ(view.size, i < 2 ? 224 : 96);
    EXPECT_EQ(view.scale_min, i < 2 ? 0.4 : 0.05);
    EXPECT_EQ(view.scale_max, i < 2 ? 1.0 : 0.4);
    EXPECT_EQ(view.blur_p, blur[kind]);
    EXPECT_EQ(view.solarize_p, solarize[kind]);
    EXPECT_EQ(view.flip_p, 0.5);
    EXPECT_EQ(view.jitter_p, 0.8);
    EXPECT_EQ(view.gray_p, 0.2);
    EXPECT_EQ(view.hue, 0.1);
    EXPECT_EQ(view.global, i < 2);
  }
  EXPECT_THAT(plan.describe(), testing::HasSubstr("local1..local8: 96 px, area 0.05-0.4"));
  EXPECT_EQ(dino_v1_views({.blur = false}).views[0].blur_p, 0.0);
}

TEST(DinoV1Views, RefusesImpossibleOptions) {
  EXPECT_THROW(dino_v1_views({.global_size = 0}), UsageError);
  EXPECT_THROW(dino_v1_views({.local_count = -1}), UsageError);
  EXPECT_THROW(dino_v1_views({.local_scale_min = 0.5, .local_scale_max = 0.4}), UsageError);
  EXPECT_THROW(dino_v1_views({.global_scale_max = 1.5}), UsageError);
}

TEST(DrawView, CropStaysInsideWithAreaAndAspectInRange) {
  ViewSpec view;
  view.scale_min = 0.05;
  view.scale_max = 0.4;
  double area_sum = 0.0;
  int flips = 0, jitters = 0, grays = 0;
  const int draws = 4000;
  for (uint64_t position = 0; position < draws; ++position) {
    const ViewDraw draw = draw_view(500, 375, view, 1, position, 3);
    ASSERT_GE(draw.crop.x, 0);
    ASSERT_GE(draw.crop.y, 0);
    ASSERT_LE(draw.crop.x + draw.crop.width, 500);
    ASSERT_LE(draw.crop.y + draw.crop.height, 375);
    const double share = draw.crop.width * static_cast<double>(draw.crop.height) / (500.0 * 375.0);
    const double aspect = static_cast<double>(draw.crop.width) / draw.crop.height;
    ASSERT_GT(share, 0.045);
    ASSERT_LT(share, 0.41);
    ASSERT_GT(aspect, 0.74);
    ASSERT_LT(aspect, 1.35);
    area_sum += share;
    flips += draw.flip;
    jitters += draw.jitter.has_value();
    grays += draw.gray;
    EXPECT_FALSE(draw.blur_sigma.has_value());
    EXPECT_FALSE(draw.solarize);
  }
  EXPECT_NEAR(area_sum / draws, 0.225, 0.01);
  EXPECT_NEAR(flips / static_cast<double>(draws), 0.5, 0.04);
  EXPECT_NEAR(jitters / static_cast<double>(draws), 0.8, 0.03);
  EXPECT_NEAR(grays / static_cast<double>(draws), 0.2, 0.03);
}

TEST(DrawView, JitterFactorsAndOrdersCoverTheirRanges) {
  ViewSpec view;
  view.jitter_p = 1.0;
  view.blur_p = 1.0;
  std::set<std::array<ColorOp, 4>> orders;
  for (uint64_t position = 0; position < 1000; ++position) {
    const ViewDraw draw = draw_view(100, 100, view, 9, position, 0);
    ASSERT_TRUE(draw.jitter && draw.jitter->hue && draw.blur_sigma);
    const ColorJitter& jitter = *draw.jitter;
    orders.insert(jitter.order);
    EXPECT_TRUE(jitter.brightness >= 0.6 && jitter.brightness <= 1.4);
    EXPECT_TRUE(jitter.contrast >= 0.6 && jitter.contrast <= 1.4);
    EXPECT_TRUE(jitter.saturation >= 0.8 && jitter.saturation <= 1.2);
    EXPECT_TRUE(*jitter.hue >= -0.1 && *jitter.hue <= 0.1);
    EXPECT_TRUE(*draw.blur_sigma >= 0.1f && *draw.blur_sigma <= 2.0f);
  }
  EXPECT_EQ(orders.size(), 24u);
}

TEST(DrawView, FallsBackToACentralCropOfExtremeImages) {
  ViewSpec view;  // area 0.4 to 1 with aspect 3/4 to 4/3 does not fit in 400 x 10
  EXPECT_TRUE((draw_view(400, 10, view, 1, 1, 0).crop == Box{193, 0, 13, 10}));
  EXPECT_TRUE((draw_view(10, 400, view, 1, 1, 0).crop == Box{0, 193, 10, 13}));
  EXPECT_TRUE((draw_view(1, 1, view, 1, 1, 0).crop == Box{0, 0, 1, 1}));
}

TEST(DrawView, IsAFunctionOfSeedPositionAndView) {
  const ViewSpec view = dino_v1_views({}).views[2];
  const auto same = [&](uint64_t seed, uint64_t position, uint32_t index) {
    const ViewDraw a = draw_view(300, 200, view, 5, 77, 2), b = draw_view(300, 200, view, seed, position, index);
    return a.crop == b.crop && a.flip == b.flip && a.jitter.has_value() == b.jitter.has_value();
  };
  EXPECT_TRUE(same(5, 77, 2));
  EXPECT_FALSE(same(6, 77, 2));
  EXPECT_FALSE(same(5, 78, 2));
  EXPECT_FALSE(same(5, 77, 3));
}

TEST(MakeView, EqualsItselfWithUsedScratch) {
  const ViewPlan plan = dino_v1_views({.global_size = 40, .local_size = 17, .local_count = 2});
  const Image large = make_image(131, 90, 1), small = make_image(9, 14, 2);
  for (uint32_t v = 0; v < plan.views.size(); ++v) {
    const size_t n = static_cast<size_t>(3 * plan.views[v].size * plan.views[v].size);
    std::vector<float> first(n), second(n), third(n);
    for (uint64_t position = 0; position < 20; ++position) {
      make_view(small, plan.views[v], plan.normalization.value(), 3, position, v, first.data());
      make_view(large, plan.views[v], plan.normalization.value(), 3, position, v, second.data());
      make_view(small, plan.views[v], plan.normalization.value(), 3, position, v, third.data());
      ASSERT_EQ(std::memcmp(first.data(), third.data(), n * sizeof(float)), 0);
      ASSERT_NE(std::memcmp(first.data(), second.data(), n * sizeof(float)), 0);
      for (const float value : first) ASSERT_TRUE(value > -2.2f && value < 2.7f);
    }
  }
}

TEST(Resize, SameSizeIsTheIdentityAndFlipMirrors) {
  const Image image = make_image(37, 22, 4);
  SourceImage source;
  source.assign(image);
  PlanarScratch planes, mirrored_planes;
  ResizeScratch scratch;
  PlanarImage out = planes.image(20, 15), mirrored = mirrored_planes.image(20, 15);
  resize_bicubic(source, {5, 3, 20, 15}, {20, 15, {}, false}, out, scratch);
  resize_bicubic(source, {5, 3, 20, 15}, {20, 15, {}, true}, mirrored, scratch);
  for (int y = 0; y < 15; ++y) {
    for (int x = 0; x < 20; ++x) {
      for (int c = 0; c < 3; ++c) {
        const uint8_t expected = image.data[static_cast<size_t>(((y + 3) * 37 + x + 5) * 3 + c)];
        ASSERT_EQ(out.plane[c][y * 20 + x], expected);
        ASSERT_EQ(mirrored.plane[c][y * 20 + 19 - x], expected);
      }
    }
  }
}

TEST(Resize, WindowIsThePartOfTheWhole) {
  const Image image = make_image(61, 45, 5);
  SourceImage source;
  source.assign(image);
  PlanarScratch planes, part_planes;
  ResizeScratch scratch;
  PlanarImage whole = planes.image(50, 33), part = part_planes.image(21, 10);
  resize_bicubic(source, {0, 0, 61, 45}, {50, 33, {}, false}, whole, scratch);
  resize_bicubic(source, {0, 0, 61, 45}, {50, 33, {7, 12, 21, 10}, false}, part, scratch);
  for (int c = 0; c < 3; ++c) {
    for (int y = 0; y < 10; ++y) {
      for (int x = 0; x < 21; ++x) ASSERT_EQ(part.plane[c][y * 21 + x], whole.plane[c][(y + 12) * 50 + x + 7]);
    }
  }
}

// A crop's result must not depend on the pixels around it.
TEST(Resize, TapsNeverLeaveTheCrop) {
  Image image = make_image(50, 40, 6);
  SourceImage source;
  ResizeScratch scratch;
  PlanarScratch planes, changed_planes;
  PlanarImage out = planes.image(24, 24), changed = changed_planes.image(24, 24);
  const Box crop{11, 7, 17, 21};
  source.assign(image);
  resize_bicubic(source, crop, {24, 24, {}, false}, out, scratch);
  for (int y = 0; y < 40; ++y) {
    for (int x = 0; x < 50; ++x) {
      const bool inside = x >= crop.x && x < crop.x + crop.width && y >= crop.y && y < crop.y + crop.height;
      if (!inside) std::fill_n(image.data.begin() + (y * 50 + x) * 3, 3, uint8_t{255});
    }
  }
  source.assign(image);
  resize_bicubic(source, crop, {24, 24, {}, false}, changed, scratch);
  for (int c = 0; c < 3; ++c) EXPECT_EQ(std::memcmp(out.plane[c], changed.plane[c], 24 * 24), 0);
}

TEST(Resize, FlatImagesStayFlatAtAnyScale) {
  Image image{90, 70, std::vector<uint8_t>(90 * 70 * 3, 201)};
  SourceImage source;
  source.assign(image);
  PlanarScratch planes;
  ResizeScratch scratch;
  for (const auto& [w, h] : {std::pair{1, 1}, {7, 95}, {224, 224}, {89, 71}}) {
    PlanarImage out = planes.image(w, h);
    resize_bicubic(source, {0, 0, 90, 70}, {w, h, {}, false}, out, scratch);
    for (int c = 0; c < 3; ++c) {
      for (int i = 0; i < w * h; ++i) ASSERT_EQ(out.plane[c][i], 201);
    }
  }
}

TEST(Resize, RefusesBoxesOutsideAndWrongSizes) {
  SourceImage source;
  source.assign(make_image(20, 10, 1));
  PlanarScratch planes;
  ResizeScratch scratch;
  PlanarImage out = planes.image(8, 8);
  EXPECT_THROW(resize_bicubic(source, {15, 0, 6, 5}, {8, 8, {}, false}, out, scratch), Error);
  EXPECT_THROW(resize_bicubic(source, {-1, 0, 6, 5}, {8, 8, {}, false}, out, scratch), Error);
  EXPECT_THROW(resize_bicubic(source, {0, 0, 0, 5}, {8, 8, {}, false}, out, scratch), Error);
  EXPECT_THROW(resize_bicubic(source, {0, 0, 5, 5}, {9, 8, {}, false}, out, scratch), Error);
  EXPECT_THROW(resize_bicubic(source, {0, 0, 5, 5}, {9, 9, {2, 0, 8, 8}, false}, out, scratch), Error);
  EXPECT_THROW(source.assign(Image{3, 3, std::vector<uint8_t>(26)}), Error);
  EXPECT_THROW(adjust_hue(out, 0.6), Error);
  ScratchBuffer<uint8_t> blur;
  EXPECT_THROW(gaussian_blur(out, -1.0f, blur), Error);
}

TEST(EvalView, RefusesACropLargerThanTheResize) {
  std::vector<float> out(3 * 64 * 64);
  const Image image = make_image(70, 70, 1);
  EXPECT_THROW(make_eval_view(image, {32, 64}, imagenet_normalization(), out.data()), UsageError);
  EXPECT_THROW(make_eval_view(image, {0, 0}, imagenet_normalization(), out.data()), UsageError);
}

}  // namespace
}  // namespace dinoxx
