// views.sizes, views.flip, optim.decay, mask.shift: from the text of a configuration to what a step uses.
#include <gmock/gmock.h>

#include <numbers>

#include "data_pipeline/augment/views_config.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/run/eval_config.hpp"
#include "loss/gram_config.hpp"
#include "method/settings/resolve.hpp"
#include "model/model_config.hpp"
#include "step/train_step.hpp"
#include "tiny_run.hpp"

namespace dinoxx {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing_support::tiny_config;

// Two crops, two local ones, patches of 4, batches of 12.
std::string start(const std::string& text, int64_t batch = 12) {
  try {
    const Config config = tiny_config(text);
    check_batch(make_method(config), batch, 1);
    Schedules(config, 60);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

const std::string kDinov3 = "[model]\ninit_from = somewhere\n[train]\nmethod = dinov3\n[gram]\nweight = 1\n";
std::string sizes(const std::string& list) {
  return "[views]\nsizes = " + list + "\n";
}

TEST(Resolutions, BecomePlansWithShares) {
  const MethodSpec spec = make_method(tiny_config(kDinov3 + sizes("16x8x24:0.3, 24x12x0:3,32x8x32:0.05")));
  const std::vector<ViewPlan> plans = spec.plans();
  ASSERT_EQ(plans.size(), 3u);
  const std::vector<std::vector<int>> expected = {{16, 16, 8, 8, 24, 24}, {24, 24, 12, 12}, {32, 32, 8, 8, 32, 32}};
  for (size_t i = 0; i < plans.size(); ++i) {
    std::vector<int> found;
    for (const ViewSpec& view : plans[i].views) found.push_back(view.size);
    EXPECT_EQ(found, expected[i]) << i;
  }
  EXPECT_EQ(std::vector<double>({plans[0].share, plans[1].share, plans[2].share}), std::vector<double>({0.3, 3, 0.05}));
  // masks on each grid
  const std::vector<uint64_t> positions{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  for (const int size : {16, 24, 32}) EXPECT_EQ(draw_masks(spec, size, positions, 5).sizes(), at::IntArrayRef({24, size * size / 16}));
}

TEST(Resolutions, OneIsTheKeysOfOne) {
  const Config one = tiny_config(kDinov3 + "size = 24\n"), listed = tiny_config(kDinov3 + sizes("16x8x24:1"));
  const MethodSpec a = make_method(one), b = make_method(listed);
  EXPECT_TRUE(a.other_views.empty() && b.other_views.empty());
  EXPECT_EQ(a.views.describe(), b.views.describe());
  EXPECT_EQ(listed.views->global_size, 16);
  EXPECT_EQ(listed.gram->size, 24);
}

TEST(Resolutions, TheFirstIsWhatOtherKeysAreMadeFor) {
  const Config config = tiny_config(kDinov3 + "size = 48\n" + sizes("24x12x32:1, 16x8x32:9"));
  EXPECT_EQ(config.views->global_size, 24);
  EXPECT_EQ(config.views->local_size, 12);
  EXPECT_EQ(config.gram->size, 32);
  EXPECT_EQ(config.model->image_size, 24);
}

TEST(Resolutions, OneAfterTheOtherTheLastIsWhatOtherKeysAreMadeFor) {
  const Config config = tiny_config(kDinov3 + "size = 48\n" + sizes("24x12x32:1, 16x8x24:9") + "sizes_by = time\n");
  EXPECT_EQ(config.views->global_size, 16);
  EXPECT_EQ(config.views->local_size, 8);
  EXPECT_EQ(config.gram->size, 24);
  EXPECT_EQ(config.model->image_size, 16);
  EXPECT_EQ(config.eval->image_size, 16);
  EXPECT_EQ(tiny_config("[eval]\nimage_size = 24\n").eval->image_size, 24) << "small crops, large images";
}

TEST(Resolutions, ArePrintedAsTheyAreRead) {
  const Config config = tiny_config(kDinov3 + sizes("16x8x24:0.3,24x12x0:3"));
  EXPECT_THAT(print_config(config), HasSubstr("\nsizes = 16x8x24:0.3, 24x12x0:3 "));
  Config again = default_config();
  apply_settings(again, parse_settings(print_config(config), "printed"));
  EXPECT_EQ(again, config);
  EXPECT_EQ(resolve_config(again, 60, 1), config);
  Config other = config;
  other.views->sizes[0].share = 0.4;
  EXPECT_EQ(config_differences(config, other),
            std::vector<std::string>{"views.sizes was 16x8x24:0.3, 24x12x0:3 and is 16x8x24:0.4, 24x12x0:3"});
}

TEST(Resolutions, AreRefusedByName) {
  EXPECT_EQ(start(kDinov3 + sizes("16x8x24:0.3, 24x12x32:0.7")), "accepted");
  for (const char* text : {"16x8:1", "16x8x24", "16x8x24:", "16x8x24:0", "16x8x24:-1", "16x8x24:nan", "0x8x24:1", "16x8x-1:1", "16x8x24:1,",
                           "x", "16x8x24:1;24x8x32:1", "16x8x24:0.5:0.5"})
    EXPECT_THAT(start(kDinov3 + sizes(text)), AllOf(HasSubstr("views.sizes"), HasSubstr("GLOBALxLOCALxGRAM:SHARE"))) << text;
  const auto second = [](const std::string& entry, const std::string& rest = "") {
    return start(kDinov3 + rest + sizes("16x8x24:1, " + entry));
  };
  EXPECT_THAT(second("18x8x24:2"),
              AllOf(HasSubstr("views.sizes, 18x8x24:2 (views.global_size)"), HasSubstr("multiple of model.patch_size = 4")));
  EXPECT_THAT(second("24x9x24:2"),
              AllOf(HasSubstr("views.sizes, 24x9x24:2 (views.local_size)"), HasSubstr("multiple of model.patch_size = 4")));
  EXPECT_THAT(second("24x0x24:2"), HasSubstr("views.sizes, 24x0x24:2 (views.local_size)"));
  EXPECT_THAT(second("24x8x26:2"), AllOf(HasSubstr("views.sizes, 24x8x26:2 (gram.size)"), HasSubstr("multiple of model.patch_size = 4")));
  EXPECT_THAT(second("24x8x16:2"), AllOf(HasSubstr("views.sizes, 24x8x16:2 (gram.size)"), HasSubstr("at least views.global_size")));
  EXPECT_THAT(second("24x24x24:2"), AllOf(HasSubstr("views.sizes, 24x24x24:2 (views.local_size)"), HasSubstr("masked")));
  EXPECT_THAT(second("24x8x24:2", "teacher = ema\n"), HasSubstr("ema"));
  // a side that no patch divides: cut off as published (168 pixels), not filled up where a grid is needed
  EXPECT_EQ(second("24x10x24:2", "[model]\nfit = crop\n"), "accepted");
  EXPECT_THAT(second("26x8x28:2", "[model]\nfit = pad\n"), HasSubstr("views.sizes, 26x8x28:2 (views.global_size)"));
  EXPECT_EQ(start("[model]\nfit = pad\n" + sizes("16x8x0:1, 26x8x0:1")), "accepted");
  // a grid on which a mask of this share has no patch
  EXPECT_EQ(start(kDinov3 + sizes("32x8x32:1") + "[mask]\nratio_min = 0.02\nratio_max = 0.03\n"), "accepted");
  EXPECT_THAT(start(kDinov3 + sizes("32x8x32:1, 16x8x32:1") + "[mask]\nratio_min = 0.02\nratio_max = 0.03\n"), HasSubstr("16 patches"));
  EXPECT_THAT(
      start("[model]\narch = resnet18\ndim = auto\ndepth = auto\nheads = auto\n[views]\nlocal_count = 0\nsizes = 32x0x0:1, 4x0x0:1\n"),
      AllOf(HasSubstr("views.sizes, 4x0x0:1 (views.global_size)"), HasSubstr("at least 8 pixels")));
}

TEST(Resolutions, OfOneMethodHaveTheSameViews) {
  MethodSpec spec = make_method(tiny_config(sizes("16x8x0:1, 24x8x0:1")));
  spec.other_views[0].views.pop_back();
  EXPECT_THAT([&] { check_method(spec); }, testing::ThrowsMessage<UsageError>(HasSubstr("4 views, 2 of them global, in every resolution")));
}

TEST(Flips, AreAShareOfEveryCrop) {
  for (const double p : {0.0, 0.5, 1.0}) {
    for (const ViewPlan& plan : make_method(tiny_config(fmt::format("{}flip = {}\n", sizes("16x8x0:1, 24x8x0:1"), p))).plans())
      for (const ViewSpec& view : plan.views) EXPECT_EQ(view.flip_p, p);
  }
  EXPECT_EQ(tiny_config().views->flip, 0.5);
  EXPECT_EQ(make_method(tiny_config()).views.views[0].flip_p, 0.5);
}

TEST(MaskShift, IsHandedOn) {
  EXPECT_FALSE(make_method(tiny_config("[train]\nmethod = dinov3\n")).masks->spec.shift);
  EXPECT_TRUE(make_method(tiny_config("[train]\nmethod = dinov3\n[mask]\nshift = yes\n")).masks->spec.shift);
}

// 60 images in batches of 12, 40 steps: up in 4, down in 10, then constant.
TEST(Decay, IsDinov3sSchedule) {
  const std::string text = "[optim]\nlr_rule = none\nlr = 0.8\nmin_lr = 0.2\nwarmup = 4it\n";
  const Schedules phases(tiny_config(text + "decay = 10it\n"), 60), cosine(tiny_config(text), 60);
  const auto lr = [](const Schedules& s, int64_t step) { return s.at(step, 12 * static_cast<uint64_t>(step)).lr; };
  EXPECT_EQ(lr(phases, 0), 0);
  EXPECT_DOUBLE_EQ(lr(phases, 2), 0.4);
  EXPECT_DOUBLE_EQ(lr(phases, 4), 0.8);
  for (int step = 4; step < 14; ++step)
    EXPECT_NEAR(lr(phases, step), 0.2 + 0.3 * (1 + std::cos(std::numbers::pi * (step - 4) / 9)), 1e-12) << step;
  for (const int step : {13, 14, 39}) EXPECT_DOUBLE_EQ(lr(phases, step), 0.2) << step;
  EXPECT_GT(lr(cosine, 13), 0.6) << "without it the cosine takes the rest of the run";
  // a rise by half a cosine, as in DINOv3's high-resolution stage
  const Schedules rise(tiny_config("[optim]\nlr_rule = none\nlr = 0\nmin_lr = 0.2\nwarmup = 0it\ndecay = 11it\n"), 60);
  EXPECT_EQ(lr(rise, 0), 0);
  EXPECT_NEAR(lr(rise, 5), 0.1, 1e-12);
  EXPECT_DOUBLE_EQ(lr(rise, 10), 0.2);
  EXPECT_DOUBLE_EQ(lr(rise, 39), 0.2);
  EXPECT_EQ(start("[optim]\nwarmup = 4it\ndecay = 36it\n"), "accepted");
  EXPECT_THAT(start("[optim]\nwarmup = 4it\ndecay = 37it\n"), AllOf(HasSubstr("optim.decay"), HasSubstr("at most the 36 steps")));
  EXPECT_THAT(start("[optim]\nschedule = constant\ndecay = 5it\n"), AllOf(HasSubstr("optim.decay"), HasSubstr("constant")));
}

// 12 images a batch: 4 sqrt(12 / 1024).
TEST(Decay, ScalesTheFinalRateTooWhichElseNoRuleDoes) {
  const auto end = [](const std::string& rule) {
    return Schedules(tiny_config("[optim]\nlr = 0.8\nmin_lr = 0.2\nlr_rule = " + rule + "\n"), 60).at(40, 480).lr;
  };
  for (const char* rule : {"none", "linear_256", "sqrt_1024", "4sqrt_1024"}) EXPECT_DOUBLE_EQ(end(rule), 0.2) << rule;
  EXPECT_DOUBLE_EQ(end("4sqrt_1024\ndecay = 20it"), 0.2 * 4 * std::sqrt(12.0 / 1024));
  EXPECT_DOUBLE_EQ(end("linear_256\ndecay = 20it"), 0.2 * 12 / 256);
}

}  // namespace
}  // namespace dinoxx
