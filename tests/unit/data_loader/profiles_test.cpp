#include "data_pipeline/augment/view_profiles.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "dinoxx/base/error.hpp"
#include "memory_dataset.hpp"

namespace dinoxx {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

struct Expected {
  const char* name;
  int size, locals;
  double scale_min, local_max;
  double blur[3], solarize;
  double jitter[4];
  BlurKernel kernel;
  float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
  struct {
    int size = 96;
    double scale_min = 0.05, solarize = 0;
  } local = {};
  double largest = 1, narrowest = 3.0 / 4.0;
};

TEST(ViewProfiles, AreThePublishedOnes) {
  const Expected table[] = {
      {"dino-v1", 224, 8, 0.4, 0.4, {1.0, 0.1, 0.5}, 0.2, {0.4, 0.4, 0.2, 0.1}, BlurKernel::kPillow},
      {"dinov2-as-released", 224, 8, 0.32, 0.32, {0.0, 0.9, 0.5}, 0.2, {0.4, 0.4, 0.2, 0.1}, BlurKernel::kTorch9},
      {"dinov2-as-documented", 224, 8, 0.32, 0.32, {1.0, 0.1, 0.5}, 0.2, {0.4, 0.4, 0.2, 0.1}, BlurKernel::kTorch9},
      {"dinov3", 224, 8, 0.32, 0.32, {0.0, 0.9, 0.5}, 0.2, {0.4, 0.4, 0.2, 0.1}, BlurKernel::kTorch9},
      {"byol", 224, 0, 0.08, 0, {1.0, 0.1, 0}, 0.2, {0.4, 0.4, 0.2, 0.1}, BlurKernel::kPillow},
      {"simclr", 224, 0, 0.08, 0, {0.5, 0.5, 0}, 0.0, {0.8, 0.8, 0.8, 0.2}, BlurKernel::kPillow},
      {"swav", 224, 6, 0.14, 0.14, {0.5, 0.5, 0.5}, 0.0, {0.8, 0.8, 0.8, 0.2}, BlurKernel::kPillow},
      {"solo-cifar-asymmetric",
       32,
       0,
       0.08,
       0,
       {0.0, 0.0, 0},
       0.2,
       {0.4, 0.4, 0.2, 0.1},
       BlurKernel::kPillow,
       {0.4914f, 0.4822f, 0.4465f},
       {0.2470f, 0.2435f, 0.2616f}},
      {"solo-cifar-symmetric",
       32,
       0,
       0.08,
       0,
       {0.5, 0.5, 0},
       0.0,
       {0.8, 0.8, 0.8, 0.2},
       BlurKernel::kPillow,
       {0.4914f, 0.4822f, 0.4465f},
       {0.2470f, 0.2435f, 0.2616f}},
      {"emp-ssl",
       32,
       18,
       0.25,
       0.25,
       {0.1, 0.1, 0.1},
       0.1,
       {0.4, 0.4, 0.4, 0.2},
       BlurKernel::kPillow,
       {0.5f, 0.5f, 0.5f},
       {0.5f, 0.5f, 0.5f},
       {.size = 32, .scale_min = 0.25, .solarize = 0.1},
       0.25,
       1},
  };
  ASSERT_EQ(view_profiles().size(), std::size(table));
  for (size_t t = 0; t < std::size(table); ++t) {
    const Expected& e = table[t];
    EXPECT_EQ(view_profiles()[t], e.name);
    EXPECT_FALSE(profile_summary(e.name).empty());
    const ViewPlan plan = profile_views(e.name);
    ASSERT_EQ(plan.views.size(), static_cast<size_t>(2 + e.locals)) << e.name;
    EXPECT_EQ(plan.global_count(), 2);
    for (size_t i = 0; i < plan.views.size(); ++i) {
      const ViewSpec& view = plan.views[i];
      EXPECT_EQ(view.size, i < 2 ? e.size : e.local.size) << e.name;
      EXPECT_EQ(view.scale_min, i < 2 ? e.scale_min : e.local.scale_min) << e.name;
      EXPECT_EQ(view.scale_max, i < 2 ? e.largest : e.local_max) << e.name;
      EXPECT_EQ(view.blur_p, e.blur[std::min<size_t>(i, 2)]) << e.name << " " << view.name;
      EXPECT_EQ(view.solarize_p, i == 1 ? e.solarize : e.local.solarize) << e.name;
      EXPECT_EQ(view.aspect_min, e.narrowest);
      EXPECT_EQ(view.aspect_max, 1 / e.narrowest);
      EXPECT_EQ(view.jitter_p, 0.8);
      EXPECT_EQ(view.gray_p, 0.2);
      EXPECT_EQ(view.flip_p, 0.5);
      EXPECT_TRUE(view.brightness == e.jitter[0] && view.contrast == e.jitter[1] && view.saturation == e.jitter[2] &&
                  view.hue == e.jitter[3])
          << e.name;
      EXPECT_EQ(view.blur_kernel, e.kernel) << e.name;
      EXPECT_TRUE(view.blur_sigma_min == 0.1 && view.blur_sigma_max == 2.0);
    }
    EXPECT_EQ(profile_normalization(e.name), Normalization(std::to_array(e.mean), std::to_array(e.std))) << e.name;
    EXPECT_EQ(plan.normalization, profile_normalization(e.name)) << e.name;
  }
}

TEST(ViewProfiles, OptionsReplaceWhatTheyName) {
  const ViewPlan plan = profile_views("dinov3", {.global_size = 64,
                                                 .local_size = 32,
                                                 .local_count = 3,
                                                 .global_scale_min = 0.5,
                                                 .global_scale_max = 0.9,
                                                 .local_scale_min = 0.1,
                                                 .local_scale_max = 0.2,
                                                 .flip_p = 0.0,
                                                 .blur = false,
                                                 .gram_size = 128});
  ASSERT_EQ(plan.views.size(), 7u);
  EXPECT_EQ(plan.global_count(), 2);
  EXPECT_EQ(plan.gram_count(), 2);
  for (const ViewSpec& view : plan.views) {
    const bool local = view.name.starts_with("local");
    EXPECT_EQ(view.size, local ? 32 : view.geometry_of >= 0 ? 128 : 64);
    EXPECT_EQ(view.scale_min, local ? 0.1 : 0.5);
    EXPECT_EQ(view.scale_max, local ? 0.2 : 0.9);
    EXPECT_EQ(view.flip_p, 0.0);
    EXPECT_EQ(view.blur_p, 0.0);
  }
  EXPECT_THAT(plan.describe(), HasSubstr("gram_global2: 128 px, crop and flip of global2, no distortions"));
}

TEST(ViewProfiles, RefuseImpossibleOptions) {
  EXPECT_THAT([] { profile_views("dinov2-as-relased"); }, ThrowsMessage<UsageError>(HasSubstr("Did you mean dinov2-as-released?")));
  EXPECT_THAT([] { profile_views("dinov2"); }, ThrowsMessage<UsageError>(HasSubstr("Did you mean dinov2-as-released?")));
  EXPECT_THAT([] { profile_views(""); }, ThrowsMessage<UsageError>(HasSubstr("one of dino-v1, ")));
  EXPECT_THAT([] { profile_views("byol", {.local_count = 6}); }, ThrowsMessage<UsageError>(HasSubstr("no local crops")));
  EXPECT_THAT([] { profile_views("dinov3", {.local_size = 4}); }, ThrowsMessage<UsageError>(HasSubstr("at least 5 pixels")));
  EXPECT_NO_THROW(profile_views("dinov3", {.local_size = 4, .blur = false}));
  EXPECT_THROW(profile_views("dinov3", {.gram_size = 0}), UsageError);
  EXPECT_THROW(profile_views("simclr", {.global_scale_min = 0.0}), UsageError);
}

TEST(GramViews, ShareGeometryAndNothingElse) {
  const ViewPlan plan = profile_views("dinov3", {.global_size = 32, .local_size = 16, .local_count = 2, .gram_size = 64});
  const ViewPlan distorted =
      profile_views("dinov3", {.global_size = 32, .local_size = 16, .local_count = 2, .gram_size = 64, .gram_distort = true});
  int flips = 0, jitters = 0;
  for (uint64_t position = 0; position < 300; ++position) {
    for (uint32_t g = 0; g < 2; ++g) {
      const ViewDraw own = draw_view(200, 130, plan.views[g], 5, position, g),
                     gram = draw_view(200, 130, plan.views[4 + g], 5, position, 4 + g),
                     same = draw_view(200, 130, distorted.views[4 + g], 5, position, 4 + g);
      for (const ViewDraw& draw : {gram, same}) {
        EXPECT_TRUE(own.crop.x == draw.crop.x && own.crop.y == draw.crop.y && own.crop.width == draw.crop.width &&
                    own.crop.height == draw.crop.height);
        EXPECT_EQ(own.flip, draw.flip);
      }
      EXPECT_FALSE(gram.jitter || gram.gray || gram.blur_sigma || gram.solarize);
      EXPECT_EQ(own.blur_sigma, same.blur_sigma);
      EXPECT_EQ(own.gray, same.gray);
      EXPECT_EQ(own.solarize, same.solarize);
      ASSERT_EQ(own.jitter.has_value(), same.jitter.has_value());
      EXPECT_EQ(own.jitter ? own.jitter->brightness : 0, same.jitter ? same.jitter->brightness : 0);
      flips += own.flip;
      jitters += own.jitter.has_value();
    }
  }
  EXPECT_TRUE(flips > 200 && flips < 400);
  EXPECT_GT(jitters, 400);
}

// An undistorted Gram crop at twice the size, halved, is about the undistorted view itself.
TEST(GramViews, ShowTheSamePartOfTheImage) {
  Image image{160, 120, std::vector<uint8_t>(160 * 120 * 3)};
  for (int y = 0; y < 120; ++y)
    for (int x = 0; x < 160; ++x)
      for (int c = 0; c < 3; ++c)
        image.data[static_cast<size_t>((y * 160 + x) * 3 + c)] = static_cast<uint8_t>(c == 0 ? x : c == 1 ? y : 100);
  ViewPlan plan = profile_views("dinov3", {.global_size = 32, .local_count = 0, .gram_size = 64});
  for (ViewSpec& view : plan.views) view.distort = false;
  std::vector<float> small(3 * 32 * 32), large(3 * 64 * 64);
  for (uint64_t position = 0; position < 10; ++position) {
    make_view(image, plan.views[1], plan.normalization.value(), 1, position, 1, small.data());
    make_view(image, plan.views[3], plan.normalization.value(), 1, position, 3, large.data());
    for (size_t c = 0; c < 3; ++c) {
      for (size_t y = 0; y < 32; ++y) {
        for (size_t x = 0; x < 32; ++x) {
          const float* at = large.data() + (c * 64 + 2 * y) * 64 + 2 * x;
          EXPECT_NEAR(small[(c * 32 + y) * 32 + x], (at[0] + at[1] + at[64] + at[65]) / 4, 0.05);
        }
      }
    }
  }
}

TEST(ViewPlans, AreChecked) {
  const ViewPlan good = profile_views("dinov3", {.gram_size = 256});
  const auto refused = [&](auto change, const char* why) {
    ViewPlan plan = good;
    change(plan.views);
    EXPECT_THAT([&] { check_view_plan(plan); }, ThrowsMessage<UsageError>(HasSubstr(why)));
  };
  refused([](auto& v) { v[10].scale_min = 0.1; }, "scale, aspect and flip of an earlier view");
  refused([](auto& v) { v[10].geometry_of = 11; }, "of an earlier view");
  refused([](auto& v) { v[11].geometry_of = 10; }, "which is no Gram crop itself");
  refused([](auto& v) { v[10].distort = true, v[10].jitter_p = 0.1; }, "of an earlier view");
  refused([](auto& v) { std::swap(v[9], v[10]); }, "Gram crops after all other views");
  refused([](auto& v) { v[3].gray_p = 1.5; }, "probabilities in [0, 1]");
  refused([](auto& v) { v.clear(); }, "at least one view");
  ViewPlan plan = good;
  plan.normalization.reset();
  EXPECT_THAT([&] { check_view_plan(plan); }, ThrowsMessage<UsageError>(HasSubstr("mean and standard deviation to normalise by")));
  EXPECT_THROW(check_view_plan(ViewPlan{}), UsageError);
}

}  // namespace
}  // namespace dinoxx
