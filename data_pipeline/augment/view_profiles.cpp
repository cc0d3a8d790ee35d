#include "view_profiles.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

/// Blur of the first global view, the second and the local ones.
struct BlurShares {
  double first = 0, second = 0, local = 0;
};

struct Profile {
  const char *name, *summary;
  int global_size = 224, local_size = 96, local_count = 8;
  double global_min = 0.4, global_max = 1.0, local_min = 0.05, local_max = 0.4;
  double brightness = 0.4, contrast = 0.4, saturation = 0.2, hue = 0.1;
  BlurShares blur = {1.0, 0.1, 0.5};
  BlurKernel kernel = BlurKernel::kPillow;
  double solarize_second = 0.2, solarize_others = 0;
  double aspect_min = 3.0 / 4.0, aspect_max = 4.0 / 3.0;
  Normalization normalization = imagenet_normalization();
};

// What "blurred with probability p" became: the published class passes 1 - p on.
constexpr BlurShares kInverted = {0.0, 0.9, 0.5};

Normalization cifar_normalization() {
  return {{0.4914f, 0.4822f, 0.4465f}, {0.2470f, 0.2435f, 0.2616f}};
}

const std::vector<Profile>& profiles() {
  static const std::vector<Profile> table = {
      {.name = "dino-v1", .summary = "facebookresearch/dino main_dino.py (iBOT's too, with other scales)"},
      {.name = "dinov2-as-released",
       .summary = "facebookresearch/dinov2 data/augmentations.py as it runs: the blur's probability is inverted (pull request 411)",
       .global_min = 0.32,
       .local_max = 0.32,
       .blur = kInverted,
       .kernel = BlurKernel::kTorch9},
      {.name = "dinov2-as-documented",
       .summary = "facebookresearch/dinov2 data/augmentations.py as it reads: blur 1, 0.1 and 0.5",
       .global_min = 0.32,
       .local_max = 0.32,
       .kernel = BlurKernel::kTorch9},
      {.name = "dinov3",
       .summary = "facebookresearch/dinov3 data/augmentations.py as it runs: as dinov2-as-released, Gram crops on demand",
       .global_min = 0.32,
       .local_max = 0.32,
       .blur = kInverted,
       .kernel = BlurKernel::kTorch9},
      {.name = "byol",
       .summary = "Grill et al. 2020, table 6; the blur with Pillow's kernel, as solo-learn has it, not 23 taps",
       .local_count = 0,
       .global_min = 0.08},
      {.name = "simclr",
       .summary = "Chen et al. 2020, appendix A, strength 1; the blur with Pillow's kernel, as solo-learn has it, not a tenth of the size",
       .local_count = 0,
       .global_min = 0.08,
       .brightness = 0.8,
       .contrast = 0.8,
       .saturation = 0.8,
       .hue = 0.2,
       .blur = {0.5, 0.5, 0.5},
       .solarize_second = 0.0},
      {.name = "swav",
       .summary = "facebookresearch/swav src/multicropdataset.py: SimCLR's colours, six small local crops",
       .local_count = 6,
       .global_min = 0.14,
       .local_max = 0.14,
       .brightness = 0.8,
       .contrast = 0.8,
       .saturation = 0.8,
       .hue = 0.2,
       .blur = {0.5, 0.5, 0.5},
       .solarize_second = 0.0},
      {.name = "solo-cifar-asymmetric",
       .summary = "vturrisi/solo-learn scripts/pretrain/cifar/augmentations/asymmetric.yaml: its BYOL and DINO on CIFAR-10",
       .global_size = 32,
       .local_count = 0,
       .global_min = 0.08,
       .blur = {},
       .normalization = cifar_normalization()},
      {.name = "solo-cifar-symmetric",
       .summary = "vturrisi/solo-learn scripts/pretrain/cifar/augmentations/symmetric.yaml: its SimCLR on CIFAR-10",
       .global_size = 32,
       .local_count = 0,
       .global_min = 0.08,
       .brightness = 0.8,
       .contrast = 0.8,
       .saturation = 0.8,
       .hue = 0.2,
       .blur = {0.5, 0.5, 0.5},
       .solarize_second = 0.0,
       .normalization = cifar_normalization()},
      {.name = "emp-ssl",
       .summary = "tsb0601/EMP-SSL dataset/aug.py: square crops of a quarter of the image, all alike",
       .global_size = 32,
       .local_size = 32,
       .local_count = 18,
       .global_min = 0.25,
       .global_max = 0.25,
       .local_min = 0.25,
       .local_max = 0.25,
       .saturation = 0.4,
       .hue = 0.2,
       .blur = {0.1, 0.1, 0.1},
       .solarize_second = 0.1,
       .solarize_others = 0.1,
       .aspect_min = 1,
       .aspect_max = 1,
       .normalization = {{0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}}},
  };
  return table;
}

const Profile& find(const std::string& name) {
  for (const Profile& profile : profiles())
    if (profile.name == name) return profile;
  const auto& names = view_profiles();
  const auto longer =
      std::find_if(names.begin(), names.end(), [&](const std::string& known) { return !name.empty() && known.starts_with(name); });
  const std::string near = longer != names.end() ? *longer : nearest_name(name, names);
  fail_usage("view profile", fmt::format("one of {}", fmt::join(names, ", ")), fmt::format("\"{}\"", name),
             near.empty() ? std::string("Choose one of the known profiles") : fmt::format("Did you mean {}?", near));
}

}  // namespace

const std::vector<std::string>& view_profiles() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Profile& profile : profiles()) all.emplace_back(profile.name);
    return all;
  }();
  return names;
}

Normalization profile_normalization(const std::string& name) {
  return find(name).normalization;
}

std::string profile_summary(const std::string& name) {
  return find(name).summary;
}

ViewPlan profile_views(const std::string& name, const ProfileOptions& options) {
  const Profile& profile = find(name);
  const int local_count = options.local_count.value_or(profile.local_count);
  if (local_count < 0) fail_usage("local crops", "0 or more", fmt::format("{}", local_count), "Correct their number");
  if (local_count > 0 && profile.local_count == 0)
    fail_usage(fmt::format("view profile {}", name), "no local crops, its authors use two global ones", fmt::format("{}", local_count),
               "Set their number to 0, or choose another profile");

  ViewPlan plan;
  plan.normalization = profile.normalization;
  const BlurShares blur = options.blur.value_or(true) ? profile.blur : BlurShares{};
  ViewSpec view;
  view.flip_p = options.flip_p.value_or(view.flip_p);
  view.brightness = profile.brightness;
  view.contrast = profile.contrast;
  view.saturation = profile.saturation;
  view.hue = profile.hue;
  view.blur_kernel = profile.kernel;
  view.solarize_p = profile.solarize_others;
  view.aspect_min = profile.aspect_min;
  view.aspect_max = profile.aspect_max;

  ViewSpec global = view;
  global.size = options.global_size.value_or(profile.global_size);
  global.scale_min = options.global_scale_min.value_or(profile.global_min);
  global.scale_max = options.global_scale_max.value_or(profile.global_max);
  global.name = "global1";
  global.blur_p = blur.first;
  plan.views.push_back(global);
  global.name = "global2";
  global.blur_p = blur.second;
  global.solarize_p = profile.solarize_second;
  plan.views.push_back(global);
  for (int i = 0; i < local_count; ++i) {
    ViewSpec local = view;
    local.name = fmt::format("local{}", i + 1);
    local.global = false;
    local.size = options.local_size.value_or(profile.local_size);
    local.scale_min = options.local_scale_min.value_or(profile.local_min);
    local.scale_max = options.local_scale_max.value_or(profile.local_max);
    local.blur_p = blur.local;
    plan.views.push_back(local);
  }
  if (!options.color.value_or(true))
    for (ViewSpec& each : plan.views) each.jitter_p = each.gray_p = each.solarize_p = 0;
  if (options.gram_size)
    for (int i = 0; i < 2; ++i) plan.views.push_back(gram_view(plan, i, *options.gram_size, options.gram_distort));
  check_view_plan(plan);
  return plan;
}

ViewPlan dino_v1_views(const DinoViewOptions& options) {
  return profile_views("dino-v1", {.global_size = options.global_size,
                                   .local_size = options.local_size,
                                   .local_count = options.local_count,
                                   .global_scale_min = options.global_scale_min,
                                   .global_scale_max = options.global_scale_max,
                                   .local_scale_min = options.local_scale_min,
                                   .local_scale_max = options.local_scale_max,
                                   .flip_p = {},
                                   .blur = options.blur,
                                   .gram_size = {}});
}

}  // namespace dinoxx
