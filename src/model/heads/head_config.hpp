#pragma once
#include <cstdint>

#include "config/auto.hpp"

namespace dinoxx {

/// Keys of the section [head].
struct HeadConfig {
  Auto<int64_t> out_dim, hidden_dim, patch_out_dim, patch_bottleneck_dim, patch_hidden_dim, predictor_hidden_dim;
  Auto<int64_t> bottleneck_dim, layers;
  Auto<bool> norm_last_layer, weight_norm, shared, batch_norm;
  bool norm_output = false, shard_prototypes = false;
  bool operator==(const HeadConfig&) const = default;
};

}  // namespace dinoxx
