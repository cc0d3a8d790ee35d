#pragma once
#include <cstdint>

#include "config/auto.hpp"

namespace dinoxx {

/// Keys of the section [head].
struct HeadConfig {
  Auto<int64_t> out_dim, hidden_dim, patch_out_dim, patch_bottleneck_dim, patch_hidden_dim, predictor_hidden_dim;
  int64_t bottleneck_dim = 0, layers = 0;
  Auto<bool> norm_last_layer, weight_norm, shared;
  bool norm_output = false, shard_prototypes = false, batch_norm = false;
  bool operator==(const HeadConfig&) const = default;
};

}  // namespace dinoxx
