#pragma once
#include <optional>

#include "model/backbones/backbone.hpp"
#include "model/backbones/vit.hpp"

namespace dinoxx::testing_support {

/// A vision transformer that costs nothing: 16 x 16 pixels, patch 4, width 32, two heads.
inline VitConfig small_vit_config(int depth) {
  VitConfig config;
  config.image_size = 16;
  config.patch_size = 4;
  config.dim = 32;
  config.depth = depth;
  config.heads = 2;
  return config;
}

/// All NaN without a seed.
inline VisionTransformer small_vit(int depth, std::optional<uint64_t> seed = std::nullopt) {
  VisionTransformer network(small_vit_config(depth), at::kFloat);
  if (seed) network.initialize(*seed);
  return network;
}

/// The same as a backbone.
inline std::unique_ptr<Backbone> small_backbone(int depth, std::optional<uint64_t> seed = std::nullopt) {
  auto network = make_backbone(small_vit_config(depth), at::kFloat);
  if (seed) network->initialize(*seed);
  return network;
}

}  // namespace dinoxx::testing_support
