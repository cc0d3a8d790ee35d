#pragma once
#include <ATen/core/Tensor.h>

#include "base/rng.hpp"
#include "config/vit_config.hpp"

namespace dinoxx {

/// Cosines and sines of the angles of every patch, [N, head_dim / 2] each; undefined: no rotation.
struct RopeTable {
  at::Tensor cos, sin;
  bool defined() const { return cos.defined(); }
};

/// The periods, [head_dim / 4], float64, after the rounding that the configuration asks for.
at::Tensor rope_periods(const RopeConfig& config, int64_t head_dim);

/// Patch centres of a grid: of its rows, then of its columns, [rows + columns], float64 in [-1, 1]. `rng` given: with the configuration's
/// training augmentations.
at::Tensor rope_centres(const RopeConfig& config, int64_t rows, int64_t columns, CounterRng* rng = nullptr);
/// 2 pi / period, [head_dim / 4], float64. An angle is a centre times a frequency.
at::Tensor rope_frequency(const RopeConfig& config, int64_t head_dim);
/// Whether a training draws positions anew for each block.
bool rope_drawn(const RopeConfig& config);

/// Angles 2 pi c / period of the patch centres c in [-1, 1] of a grid, rows first; computed in float64, given in float32 (float64 for
/// float64 networks). `rng` given: with the configuration's training augmentations.
RopeTable rope_table(const RopeConfig& config, int64_t head_dim, int64_t rows, int64_t columns, const at::TensorOptions& like,
                     CounterRng* rng = nullptr);

/// Rotates queries and keys of the patches; prefix tokens and values stay. qkv [B, T, 3 D] -> a new tensor of the same shape.
/// With x = (x1, x2) the halves of a head's channels: (x1 cos - x2 sin, x2 cos + x1 sin), in float32 or wider.
at::Tensor apply_rope(const at::Tensor& qkv, const RopeTable& table, int heads, int64_t prefix);

}  // namespace dinoxx
