#pragma once
#include <array>
#include <cstdint>
#include <optional>

#include "resize.hpp"

namespace dinoxx {

/// Colour operations in place, with the arithmetic of Pillow's ImageEnhance, ImageOps and torchvision's adjust_hue on 8-bit RGB.
/// A blend is truncated, not rounded; luma is (19595 R + 38470 G + 7471 B + 32768) >> 16 (ITU-R 601 in 16-bit fixed point).

/// out = factor * v.
void adjust_brightness(PlanarImage& image, float factor);
/// out = m + factor * (v - m), m = int(mean luma + 0.5).
void adjust_contrast(PlanarImage& image, float factor);
/// out = L + factor * (v - L), L = luma of the pixel.
void adjust_saturation(PlanarImage& image, float factor);
/// Rotates the hue by `factor` of a turn, factor in [-0.5, 0.5], through 8-bit HSV whose hue wraps at 256.
void adjust_hue(PlanarImage& image, double factor);
/// All planes become luma.
void to_grayscale(PlanarImage& image);
/// v < 128 ? v : 255 - v.
void solarize(PlanarImage& image);

enum class ColorOp : uint8_t { kBrightness = 0, kContrast = 1, kSaturation = 2, kHue = 3 };

/// One draw of torchvision's ColorJitter: four factors and the order in which they are applied.
struct ColorJitter {
  std::array<ColorOp, 4> order{ColorOp::kBrightness, ColorOp::kContrast, ColorOp::kSaturation, ColorOp::kHue};
  double brightness = 1.0, contrast = 1.0, saturation = 1.0;
  std::optional<double> hue;  ///< none: no way through HSV at all, which also a rotation by 0 would quantise
};
void apply_color_jitter(PlanarImage& image, const ColorJitter& jitter);

}  // namespace dinoxx
