#pragma once
#include <optional>

#include "dinoxx/model/vit.hpp"

namespace dinoxx::testing_support {

/// A vision transformer that costs nothing: 16 x 16 pixels, patch 4, width 32, two heads. All NaN without a seed.
inline VisionTransformer small_vit(int depth, std::optional<uint64_t> seed = std::nullopt) {
  VitConfig config;
  config.image_size = 16;
  config.patch_size = 4;
  config.dim = 32;
  config.depth = depth;
  config.heads = 2;
  VisionTransformer network(config, at::kFloat);
  if (seed) network.initialize(*seed);
  return network;
}

}  // namespace dinoxx::testing_support
