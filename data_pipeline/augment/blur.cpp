#include "blur.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "dinoxx/base/error.hpp"
#include "kernels/image/image_kernels.hpp"

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

constexpr int kReach = 4;  // of nine taps

// weights[k]: of the taps at distance k. float32 step by step as torchvision has it.
std::array<float, kReach + 1> gaussian_weights(float sigma) {
  std::array<float, kReach + 1> weights{};
  float sum = 0;
  for (int k = 0; k <= kReach; ++k) {
    const float ratio = static_cast<float>(k) / sigma;
    weights[static_cast<size_t>(k)] = std::exp(-0.5f * (ratio * ratio));
    sum += (k == 0 ? 1 : 2) * weights[static_cast<size_t>(k)];
  }
  for (float& weight : weights) weight /= sum;
  return weights;
}

}  // namespace

void gaussian_blur9(PlanarImage& image, float sigma, ScratchBuffer<uint8_t>& scratch, int channels) {
  if (!(sigma > 0.0f)) fail("blur sigma", "a number > 0", fmt::format("{}", sigma), "Give the standard deviation in pixels.");
  const int width = image.width, height = image.height;
  if (width <= kReach || height <= kReach)
    fail("blur", fmt::format("an image of at least {} pixels on each side", kReach + 1), fmt::format("{} x {}", width, height),
         "Turn the blur off for such views.");
  const auto weights = gaussian_weights(sigma);
  float* memory = reinterpret_cast<float*>(scratch.ensure(kernels::gauss_scratch(width, height) * sizeof(float)));
  for (int c = 0; c < channels; ++c) kernels::table().gauss_blur(image.plane[c], width, height, weights.data(), memory);
}

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
