#include "dinoxx/data/blur.hpp"

#include <cmath>

#include "dinoxx/core/error.hpp"
#include "kernels.hpp"

namespace dinoxx {
namespace {

// Radius of one of three extended boxes that together have the variance of the Gaussian (Gwosdek et al. 2011, equations 6 and 14). Single
// precision where Pillow has it, since the radius decides the weights' last bits.
float box_radius(float sigma) {
  const float variance = sigma * sigma / 3;
  const float length = static_cast<float>(std::sqrt(12.0 * variance + 1.0));
  const float whole = static_cast<float>(std::floor((length - 1.0) / 2.0));
  float part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance);
  part /= 6 * (variance - (whole + 1) * (whole + 1));
  return whole + part;
}

}  // namespace

void gaussian_blur(PlanarImage& image, float sigma, ScratchBuffer<uint8_t>& scratch, int channels) {
  if (!(sigma >= 0.0f)) fail("blur sigma", "a number >= 0", fmt::format("{}", sigma), "Give the standard deviation in pixels.");
  if (sigma == 0.0f) return;
  const float radius = box_radius(sigma);
  const int whole = static_cast<int>(radius);
  const uint32_t inner = static_cast<uint32_t>(static_cast<float>(1u << 24) / (radius * 2 + 1));
  const uint32_t edge = ((1u << 24) - static_cast<uint32_t>(whole * 2 + 1) * inner) / 2;
  uint8_t* memory = scratch.ensure(kernels::box_scratch(image.width, image.height));
  for (int c = 0; c < channels; ++c) {
    kernels::table().box_blur(image.plane[c], image.width, image.height, whole, inner, edge, memory);
  }
}

}  // namespace dinoxx
