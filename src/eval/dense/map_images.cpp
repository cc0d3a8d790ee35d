#include "map_images.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "dinoxx/data_pipeline/image.hpp"

namespace dinoxx::eval {

at::Tensor map_image(const at::Tensor& map, int64_t height, int64_t width) {
  const at::Tensor planes = (map.dim() == 2 ? map.unsqueeze(0) : map).clamp(0, 1).mul(255).round().to(at::kByte);
  return planes.repeat_interleave(height / map.size(-2), 1).repeat_interleave(width / map.size(-1), 2).expand({3, -1, -1});
}

std::string map_png(const at::Tensor& panel) {
  const at::Tensor pixels = panel.permute({1, 2, 0}).contiguous();
  const Image image{static_cast<int>(panel.size(2)),
                    static_cast<int>(panel.size(1)),
                    {pixels.data_ptr<uint8_t>(), pixels.data_ptr<uint8_t>() + pixels.numel()}};
  const std::vector<uint8_t> bytes = encode_png(image);
  return {bytes.begin(), bytes.end()};
}

at::Tensor attention_map(const at::Tensor& attention) {
  return attention / at::quantile(attention, 0.99).clamp_min(1e-30);
}

Components principal_components(const at::Tensor& patches) {
  const at::Tensor x = patches.to(at::kDouble) - patches.to(at::kDouble).mean(0);
  const auto [u, s, vh] = at::linalg_svd(x, /*full_matrices=*/false);
  Components result{at::full({3, x.size(0)}, 0.5, at::kDouble), {}};
  const at::Tensor variance = s.square();
  const double all = variance.sum().item<double>();
  for (int64_t c = 0; c < std::min<int64_t>(3, s.size(0)); ++c) {
    at::Tensor scores = u.select(1, c) * s[c];
    if (scores[scores.abs().argmax()].item<double>() < 0) scores = -scores;  // a sign that does not depend on the library
    const double low = at::quantile(scores, 0.01).item<double>(), high = at::quantile(scores, 0.99).item<double>();
    if (high > low) result.maps[c].copy_((scores - low) / (high - low));
    result.explained.push_back(all > 0 ? variance[c].item<double>() / all : 0.0);
  }
  return result;
}

}  // namespace dinoxx::eval
