#include "views.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/rng.hpp"
#include "dinoxx/base/error.hpp"
#include "eval_mask.hpp"
#include "kernels/image/image_kernels.hpp"

namespace dinoxx {
namespace {

// Python's round(): half to even, which is the default rounding mode.
int round_half_even(double value) {
  return static_cast<int>(std::nearbyint(value));
}

Box draw_crop(int width, int height, const ViewSpec& view, CounterRng& rng) {
  const double area = static_cast<double>(width) * height;
  const double log_min = std::log(view.aspect_min), log_max = std::log(view.aspect_max);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * rng.uniform(view.scale_min, view.scale_max);
    const double aspect = std::exp(rng.uniform(log_min, log_max));
    const int w = round_half_even(std::sqrt(target * aspect)), h = round_half_even(std::sqrt(target / aspect));
    if (w > 0 && w <= width && h > 0 && h <= height) {
      const int y = static_cast<int>(rng.below(static_cast<uint64_t>(height - h) + 1));
      const int x = static_cast<int>(rng.below(static_cast<uint64_t>(width - w) + 1));
      return {x, y, w, h};
    }
  }
  const double ratio = static_cast<double>(width) / height;
  int w = width, h = height;
  if (ratio < view.aspect_min) h = std::clamp(round_half_even(w / view.aspect_min), 1, height);
  if (ratio > view.aspect_max) w = std::clamp(round_half_even(h * view.aspect_max), 1, width);
  return {(width - w) / 2, (height - h) / 2, w, h};
}

double draw_factor(CounterRng& rng, double strength) {
  return rng.uniform(std::max(0.0, 1.0 - strength), 1.0 + strength);
}

struct Workspace {
  SourceImage source;
  ViewScratch scratch;
};
Workspace& workspace() {
  static thread_local Workspace instance;
  return instance;
}

void normalize_planes(const PlanarImage& image, const Normalization& by, float* out) {
  const auto [scale, shift] = channel_scale(by);
  for (size_t c = 0; c < 3; ++c) kernels::table().normalize(image.plane[c], image.pixels(), scale[c], shift[c], out + c * image.pixels());
}

}  // namespace

ChannelScale channel_scale(const Normalization& normalization) {
  ChannelScale by;
  for (size_t c = 0; c < 3; ++c) {
    const double deviation = normalization.std[c];
    by.scale[c] = static_cast<float>(1.0 / (255.0 * deviation));
    by.shift[c] = static_cast<float>(-normalization.mean[c] / deviation);
  }
  return by;
}

int ViewPlan::global_count() const {
  return static_cast<int>(std::count_if(views.begin(), views.end(), [](const ViewSpec& view) { return view.global; }));
}

std::string ViewPlan::describe() const {
  const auto line = [&](const ViewSpec& v) {
    if (v.geometry_of >= 0)
      return fmt::format("{} px, crop and flip of {}, {}", v.size, views[static_cast<size_t>(v.geometry_of)].name,
                         v.distort ? "distorted as it is" : "no distortions");
    return fmt::format(
        "{} px, area {:g}-{:g}, aspect {:.3g}-{:.3g}, flip {:g}, jitter {:g} ({:g}/{:g}/{:g}/{:g}), gray {:g}, blur {:g} ({}, sigma "
        "{:g}-{:g}), solarize {:g}",
        v.size, v.scale_min, v.scale_max, v.aspect_min, v.aspect_max, v.flip_p, v.jitter_p, v.brightness, v.contrast, v.saturation, v.hue,
        v.gray_p, v.blur_p, v.blur_kernel == BlurKernel::kPillow ? "Pillow" : "9 taps", v.blur_sigma_min, v.blur_sigma_max, v.solarize_p);
  };
  std::string text;
  for (size_t i = 0; i < views.size();) {
    size_t end = i + 1;
    while (end < views.size() && line(views[end]) == line(views[i])) ++end;
    text += fmt::format("{}{}: {}\n", views[i].name, end - i > 1 ? fmt::format("..{}", views[end - 1].name) : "", line(views[i]));
    i = end;
  }
  return normalization ? text + dinoxx::describe(*normalization) + "\n" : text;
}

int ViewPlan::gram_count() const {
  return static_cast<int>(std::count_if(views.begin(), views.end(), [](const ViewSpec& view) { return view.geometry_of >= 0; }));
}

ViewSpec gram_view(const ViewPlan& plan, int of, int size, bool distort) {
  ViewSpec view = plan.views.at(static_cast<size_t>(of));
  view.name = "gram_" + view.name;
  view.size = size;
  view.global = false;
  view.geometry_of = of;
  view.distort = distort;
  return view;
}

namespace {

void check_view(const ViewSpec& v) {
  const auto probability = [](double p) { return p >= 0.0 && p <= 1.0; };
  const bool good = v.size >= 1 && v.scale_min > 0.0 && v.scale_min <= v.scale_max && v.scale_max <= 1.0 && v.aspect_min > 0.0 &&
                    v.aspect_min <= v.aspect_max && probability(v.flip_p) && probability(v.jitter_p) && probability(v.gray_p) &&
                    probability(v.blur_p) && probability(v.solarize_p) && v.brightness >= 0.0 && v.contrast >= 0.0 && v.saturation >= 0.0 &&
                    v.hue >= 0.0 && v.hue <= 0.5 && v.blur_sigma_min >= 0.0 && v.blur_sigma_min <= v.blur_sigma_max;
  if (!good) {
    ViewPlan plan;
    plan.views = {v};
    plan.views[0].geometry_of = -1;
    fail_usage(fmt::format("view \"{}\"", v.name),
               "size >= 1, 0 < smallest area <= largest area <= 1, ranges in ascending order, probabilities in [0, 1], hue in [0, 0.5]",
               plan.describe(), "Correct the view's options.");
  }
  if (v.distort && v.blur_p > 0.0 && v.blur_kernel == BlurKernel::kTorch9 && (v.size < 5 || v.blur_sigma_min <= 0.0))
    fail_usage(fmt::format("blur of view \"{}\"", v.name), "at least 5 pixels and sigma > 0 (a kernel of 9 taps with reflected edges)",
               fmt::format("{} pixels, sigma {:g} to {:g}", v.size, v.blur_sigma_min, v.blur_sigma_max), "Turn the blur off.");
}

// A Gram crop draws what its view draws, so it has to describe the same.
bool same_draws(const ViewSpec& a, const ViewSpec& b) {
  const auto geometry = [](const ViewSpec& v) { return std::tie(v.scale_min, v.scale_max, v.aspect_min, v.aspect_max, v.flip_p); };
  const auto colors = [](const ViewSpec& v) {
    return std::tie(v.jitter_p, v.brightness, v.contrast, v.saturation, v.hue, v.gray_p, v.blur_p, v.blur_sigma_min, v.blur_sigma_max,
                    v.solarize_p);
  };
  return geometry(a) == geometry(b) && (!a.distort || colors(a) == colors(b));
}

}  // namespace

void check_view_plan(const ViewPlan& plan) {
  if (plan.views.empty()) fail_usage("views", "at least one view", "none", "Choose a recipe or add views.");
  if (!plan.normalization)
    fail_usage("views", "mean and standard deviation to normalise by", "none",
               "Make the plan by profile_views, or give it a normalisation.");
  if (!(plan.share > 0.0 && std::isfinite(plan.share)))
    fail_usage("share of a resolution", "above 0", fmt::format("{}", plan.share), "Correct it, or leave the resolution out.");
  for (size_t i = 0; i < plan.views.size(); ++i) {
    const ViewSpec& view = plan.views[i];
    check_view(view);
    if (view.geometry_of < 0) {
      if (i > 0 && plan.views[i - 1].geometry_of >= 0)
        fail_usage(fmt::format("view \"{}\"", view.name), "Gram crops after all other views", "one before it", "Reorder the views.");
      continue;
    }
    const auto of = static_cast<size_t>(view.geometry_of);
    if (of >= i || plan.views[of].geometry_of >= 0 || !same_draws(view, plan.views[of]))
      fail_usage(fmt::format("Gram crop \"{}\"", view.name), "scale, aspect and flip of an earlier view, which is no Gram crop itself",
                 fmt::format("view {} of {}", of, i), "Make it with gram_view.");
  }
}

ViewDraw draw_view(int width, int height, const ViewSpec& view, uint64_t seed, uint64_t position, uint32_t view_index) {
  if (view.geometry_of >= 0) view_index = static_cast<uint32_t>(view.geometry_of);
  ViewDraw draw;
  CounterRng crop_rng(seed, position, view_index, Purpose::kCrop);
  draw.crop = draw_crop(width, height, view, crop_rng);
  draw.flip = crop_rng.bernoulli(view.flip_p);
  if (!view.distort) return draw;

  // Fixed order and number of draws: a changed probability of one step leaves the others as they were.
  CounterRng color_rng(seed, position, view_index, Purpose::kColor);
  const bool use_jitter = color_rng.bernoulli(view.jitter_p);
  ColorJitter jitter;
  for (size_t i = jitter.order.size() - 1; i > 0; --i) std::swap(jitter.order[i], jitter.order[color_rng.below(i + 1)]);
  jitter.brightness = draw_factor(color_rng, view.brightness);
  jitter.contrast = draw_factor(color_rng, view.contrast);
  jitter.saturation = draw_factor(color_rng, view.saturation);
  const double hue = color_rng.uniform(-view.hue, view.hue);
  if (view.hue > 0.0) jitter.hue = hue;
  if (use_jitter) draw.jitter = jitter;
  draw.gray = color_rng.bernoulli(view.gray_p);
  draw.solarize = color_rng.bernoulli(view.solarize_p);

  if (view.blur_p > 0.0) {
    CounterRng blur_rng(seed, position, view_index, Purpose::kBlur);
    const bool use_blur = blur_rng.bernoulli(view.blur_p);
    const float sigma = static_cast<float>(blur_rng.uniform(view.blur_sigma_min, view.blur_sigma_max));
    if (use_blur) draw.blur_sigma = sigma;
  }
  return draw;
}

PlanarImage render_view_u8(const SourceImage& source, const ViewDraw& draw, const ViewSpec& view, ViewScratch& scratch) {
  PlanarImage image = scratch.planes.image(view.size, view.size);
  resize_bicubic(source, draw.crop, {view.size, view.size, {}, draw.flip}, image, scratch.resize);
  if (draw.jitter) apply_color_jitter(image, *draw.jitter);
  int channels = 3;
  if (draw.gray) {  // equal channels from here on: work on one, show it three times
    kernels::table().luma(image.plane[0], image.plane[1], image.plane[2], image.plane[0], image.pixels());
    image.plane[1] = image.plane[2] = image.plane[0];
    channels = 1;
  }
  if (draw.blur_sigma) {
    const auto blur = view.blur_kernel == BlurKernel::kPillow ? gaussian_blur : gaussian_blur9;
    blur(image, *draw.blur_sigma, scratch.blur, channels);
  }
  if (draw.solarize) {
    for (int c = 0; c < channels; ++c) kernels::table().solarize(image.plane[c], image.pixels());
  }
  return image;
}

void render_view(const SourceImage& source, const ViewDraw& draw, const ViewSpec& view, const Normalization& normalization,
                 ViewScratch& scratch, float* out) {
  normalize_planes(render_view_u8(source, draw, view, scratch), normalization, out);
}

void render_view_bytes(const SourceImage& source, const ViewDraw& draw, const ViewSpec& view, ViewScratch& scratch, uint8_t* out) {
  const PlanarImage image = render_view_u8(source, draw, view, scratch);
  for (size_t c = 0; c < 3; ++c) std::copy_n(image.plane[c], image.pixels(), out + c * image.pixels());
}

void make_view(const Image& image, const ViewSpec& view, const Normalization& normalization, uint64_t seed, uint64_t position,
               uint32_t view_index, float* out) {
  Workspace& work = workspace();
  work.source.assign(image);
  render_view(work.source, draw_view(image.width, image.height, view, seed, position, view_index), view, normalization, work.scratch, out);
}

namespace {

// How an image is scaled and which window of that is kept.
ResizeSpec eval_geometry(const Image& image, const EvalTransform& transform) {
  if (transform.crop <= 0 || transform.resize < 0 || (transform.resize > 0 && transform.resize < transform.crop)) {
    fail_usage("evaluation transform", "crop >= 1 and resize = 0 or at least crop",
               fmt::format("resize {}, crop {}", transform.resize, transform.crop), "Correct the sizes.");
  }
  ResizeSpec spec{transform.crop, transform.crop, {}, false};
  if (transform.resize > 0) {
    // torchvision Resize(int): the long side is truncated; CenterCrop: the margin is rounded half to even.
    const int64_t shorter = std::min(image.width, image.height), longer = std::max(image.width, image.height);
    const int long_side = static_cast<int>(static_cast<double>(transform.resize * longer) / static_cast<double>(shorter));
    spec.width = image.width <= image.height ? transform.resize : long_side;
    spec.height = image.width <= image.height ? long_side : transform.resize;
    spec.window = {round_half_even((spec.width - transform.crop) / 2.0), round_half_even((spec.height - transform.crop) / 2.0),
                   transform.crop, transform.crop};
  }
  return spec;
}

}  // namespace

void make_eval_view(const Image& image, const EvalTransform& transform, const Normalization& normalization, float* out) {
  const ResizeSpec spec = eval_geometry(image, transform);
  Workspace& work = workspace();
  work.source.assign(image);
  PlanarImage view = work.scratch.planes.image(transform.crop, transform.crop);
  resize_bicubic(work.source, {0, 0, image.width, image.height}, spec, view, work.scratch.resize);
  normalize_planes(view, normalization, out);
}

void make_eval_mask(const Image& mask, const EvalTransform& transform, uint8_t* out) {
  const ResizeSpec spec = eval_geometry(mask, transform);
  const auto place = [](int at, int scaled, int size) {
    return std::min(size - 1, static_cast<int>((at + 0.5) * static_cast<double>(size) / scaled));
  };
  for (int y = 0; y < transform.crop; ++y) {
    const size_t row = static_cast<size_t>(place(y + spec.window.y, spec.height, mask.height)) * mask.width;
    for (int x = 0; x < transform.crop; ++x) *out++ = mask.data[3 * (row + place(x + spec.window.x, spec.width, mask.width))] != 0 ? 1 : 0;
  }
}

}  // namespace dinoxx
