#pragma once
#include <ATen/core/Tensor.h>

namespace dinoxx {

/// Position embedding [1, 1 + N, D], learned on a square grid of N patches, for a grid of `rows` x `columns` patches: [1, 1 + rows *
/// columns, D]. Differentiable. The same tensor when the grid is the learned one. Otherwise bicubic by the scale factors (rows + 0.1) /
/// sqrt(N) and (columns + 0.1) / sqrt(N), as facebookresearch/dino's interpolate_pos_encoding does: the 0.1 guards its output size against
/// rounding and shifts the sampled positions a little (its issue 8).
at::Tensor resize_pos_embed(const at::Tensor& pos_embed, int64_t rows, int64_t columns);

}  // namespace dinoxx
