#include "dinoxx/data/blur.hpp"

#include <array>
#include <bit>
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

int reflected(int i, int n) {
  return i < 0 ? -i : (i >= n ? 2 * (n - 1) - i : i);
}

// out[i] = sum over distances of weights times taps; tap(k)[i] is the value at distance k of output i.
template <class Tap>
void weigh(const std::array<float, kReach + 1>& weights, Tap tap, int n, float* out) {
  const float *at = tap(0), *before1 = tap(-1), *before2 = tap(-2), *before3 = tap(-3), *before4 = tap(-4), *after1 = tap(1),
              *after2 = tap(2), *after3 = tap(3), *after4 = tap(4);
  const float w0 = weights[0], w1 = weights[1], w2 = weights[2], w3 = weights[3], w4 = weights[4];
  for (int i = 0; i < n; ++i) {
    out[i] = (w4 * (before4[i] + after4[i]) + w3 * (before3[i] + after3[i])) +
             (w2 * (before2[i] + after2[i]) + w1 * (before1[i] + after1[i])) + w0 * at[i];
  }
}

// Round half to even for 0 <= v < 2^22: the sum with 1.5 * 2^23 has a last place of 1.
uint8_t rounded(float v) {
  return static_cast<uint8_t>(std::bit_cast<uint32_t>(v + 12582912.0f));
}

}  // namespace

void gaussian_blur9(PlanarImage& image, float sigma, ScratchBuffer<uint8_t>& scratch, int channels) {
  if (!(sigma > 0.0f)) fail("blur sigma", "a number > 0", fmt::format("{}", sigma), "Give the standard deviation in pixels.");
  const int width = image.width, height = image.height;
  if (width <= kReach || height <= kReach)
    fail("blur", fmt::format("an image of at least {} pixels on each side", kReach + 1), fmt::format("{} x {}", width, height),
         "Turn the blur off for such views.");
  const auto weights = gaussian_weights(sigma);
  const size_t padded = static_cast<size_t>(width + 2 * kReach);
  float* const line =
      reinterpret_cast<float*>(scratch.ensure((padded + static_cast<size_t>(width) * static_cast<size_t>(height + 1)) * sizeof(float)));
  float* const sums = line + padded;
  float* const rows = sums + width;  // [height, width], blurred along rows
  for (int c = 0; c < channels; ++c) {
    for (int y = 0; y < height; ++y) {
      const uint8_t* in = image.plane[c] + static_cast<ptrdiff_t>(y) * width;
      for (int x = 0; x < width; ++x) line[kReach + x] = in[x];
      for (int k = 1; k <= kReach; ++k) {
        line[kReach - k] = in[reflected(-k, width)];
        line[kReach + width - 1 + k] = in[reflected(width - 1 + k, width)];
      }
      weigh(
          weights, [&](int k) { return line + kReach + k; }, width, rows + static_cast<ptrdiff_t>(y) * width);
    }
    for (int y = 0; y < height; ++y) {
      weigh(
          weights, [&](int k) { return rows + static_cast<ptrdiff_t>(reflected(y + k, height)) * width; }, width, sums);
      uint8_t* out = image.plane[c] + static_cast<ptrdiff_t>(y) * width;
      for (int x = 0; x < width; ++x) out[x] = rounded(sums[x]);
    }
  }
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
