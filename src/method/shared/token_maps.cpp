#include "token_maps.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

int64_t side_of(int64_t tokens) {
  const auto side = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(tokens))));
  if (side * side != tokens) fail("map of patches", "a square one", fmt::format("{} patches", tokens), "Use square crops");
  return side;
}

}  // namespace

at::Tensor resampled_tokens(const at::Tensor& map, int64_t tokens) {
  const int64_t from = side_of(map.size(1)), to = side_of(tokens);
  if (from == to) return map;
  const at::Tensor wide = map.scalar_type() == at::kDouble ? map : map.to(at::kFloat);
  const at::Tensor planes = wide.transpose(1, 2).unflatten(2, {from, from}).contiguous();  // [B, D, n, n]
  const at::Tensor resized = to < from ? at::_upsample_bilinear2d_aa(planes, {to, to}, /*align_corners=*/false)
                                       : at::upsample_bilinear2d(planes, {to, to}, /*align_corners=*/false);
  return resized.flatten(2).transpose(1, 2);
}

}  // namespace dinoxx
