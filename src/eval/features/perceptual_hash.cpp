#include "perceptual_hash.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "eval/classify/knn.hpp"

namespace dinoxx::eval {
namespace {

constexpr int64_t kSide = 32, kFrequencies = 8, kWindows = kHashWindows, kHash = kFrequencies * kFrequencies - 1;
// Below this length, in units of the normalised pixels, only rounding is left.
constexpr double kNoStructure = 1e-3;

// [frequencies, side]
at::Tensor cosines() {
  const at::Tensor rows = at::empty({kFrequencies, kSide}, at::kFloat);
  for (int64_t u = 0; u < kFrequencies; ++u)
    for (int64_t x = 0; x < kSide; ++x)
      rows[u][x] = std::cos(std::numbers::pi * static_cast<double>((2 * x + 1) * u) / static_cast<double>(2 * kSide));
  return rows;
}

// A number for each frequency, [63]: the pair (vertical, horizontal) in rows, without (0, 0).
template <typename F>
at::Tensor of_frequencies(F&& value) {
  const at::Tensor row = at::empty({kFrequencies * kFrequencies - 1}, at::kFloat);
  for (int64_t i = 1; i < kFrequencies * kFrequencies; ++i)
    row[i - 1] = value(static_cast<double>(i / kFrequencies), static_cast<double>(i % kFrequencies));
  return row;
}

// [B, 3, S, S'] -> [B, 63]
at::Tensor hash_of(const at::Tensor& images) {
  static const at::Tensor waves = cosines(), weights = of_frequencies([](double v, double u) { return std::hypot(v, u); });
  const at::Tensor small = at::adaptive_avg_pool2d(images, {kSide, kSide}).mean(1);
  const at::Tensor transformed = at::matmul(at::matmul(waves, small), waves.t()) / static_cast<double>(kSide);
  const at::Tensor rows = transformed.flatten(1).narrow(1, 1, kFrequencies * kFrequencies - 1) * weights;
  return rows * (rows.norm(2, {1}, /*keepdim=*/true) > kNoStructure);
}

// The centre crop of a mirrored image lies a pixel beside the mirrored crop where the margin is odd: three windows, each a pixel on.
at::Tensor hashes_of(const at::Tensor& images) {
  const at::Tensor pixels = images.to(at::kCPU, at::kFloat);
  std::vector<at::Tensor> windows;
  for (int64_t left = 0; left < kWindows; ++left) windows.push_back(hash_of(pixels.narrow(3, left, pixels.size(3) - kWindows + 1)));
  return at::cat(windows, 1);
}

}  // namespace

Embedder hash_embedder() {
  return {"hash",
          fmt::format("brightness at {0} x {0}, {1} x {1} lowest frequencies, {2} windows, version 1", kSide, kFrequencies, kWindows),
          kWindows * kHash, hashes_of};
}

at::Tensor hash_of_window(const at::Tensor& rows, int64_t window) {
  return normalize_rows(rows.narrow(1, window * kHash, kHash));
}

at::Tensor mirrored_hashes(const at::Tensor& hashes) {
  return hashes * of_frequencies([](double, double u) { return std::lround(u) % 2 == 0 ? 1.0 : -1.0; });
}

}  // namespace dinoxx::eval
