#include "color.hpp"

#include <fmt/format.h>

#include <cstring>

#include "dinoxx/base/error.hpp"
#include "kernels/image/image_kernels.hpp"

namespace dinoxx {

void adjust_brightness(PlanarImage& image, float factor) {
  if (factor == 1.0f) return;
  for (uint8_t* plane : image.plane) kernels::table().blend_with_constant(plane, image.pixels(), factor, 0);
}

void adjust_contrast(PlanarImage& image, float factor) {
  if (factor == 1.0f) return;
  const uint64_t sum = kernels::table().luma_sum(image.plane[0], image.plane[1], image.plane[2], image.pixels());
  const int pivot = static_cast<int>(static_cast<double>(sum) / static_cast<double>(image.pixels()) + 0.5);
  for (uint8_t* plane : image.plane) kernels::table().blend_with_constant(plane, image.pixels(), factor, pivot);
}

void adjust_saturation(PlanarImage& image, float factor) {
  if (factor == 1.0f) return;
  kernels::table().blend_with_luma(image.plane[0], image.plane[1], image.plane[2], image.pixels(), factor);
}

void adjust_hue(PlanarImage& image, double factor) {
  if (!(factor >= -0.5 && factor <= 0.5))
    fail("hue factor", "a number in [-0.5, 0.5]", fmt::format("{}", factor), "Give a smaller rotation.");
  // Also a shift of 0 quantises: the way through 8-bit HSV is part of the reference's result.
  const int shift = static_cast<int>(factor * 255.0) & 255;
  kernels::table().rotate_hue(image.plane[0], image.plane[1], image.plane[2], image.pixels(), shift);
}

void to_grayscale(PlanarImage& image) {
  kernels::table().luma(image.plane[0], image.plane[1], image.plane[2], image.plane[0], image.pixels());
  for (int c = 1; c < 3; ++c) std::memcpy(image.plane[c], image.plane[0], image.pixels());
}

void solarize(PlanarImage& image) {
  for (uint8_t* plane : image.plane) kernels::table().solarize(plane, image.pixels());
}

void apply_color_jitter(PlanarImage& image, const ColorJitter& jitter) {
  for (const ColorOp op : jitter.order) {
    switch (op) {
      case ColorOp::kBrightness:
        adjust_brightness(image, static_cast<float>(jitter.brightness));
        break;
      case ColorOp::kContrast:
        adjust_contrast(image, static_cast<float>(jitter.contrast));
        break;
      case ColorOp::kSaturation:
        adjust_saturation(image, static_cast<float>(jitter.saturation));
        break;
      case ColorOp::kHue:
        if (jitter.hue) adjust_hue(image, *jitter.hue);
        break;
    }
  }
}

}  // namespace dinoxx
