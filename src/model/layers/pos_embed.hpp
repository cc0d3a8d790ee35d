#pragma once
#include <ATen/core/Tensor.h>

namespace dinoxx {

/// Position embedding [1, 1 + N, D], learned on a square grid of N patches, for a grid of `rows` x `columns` patches: [1, 1 + rows *
/// columns, D]. Differentiable. The same tensor when the grid is the learned one. Otherwise bicubic. offset > 0: by
/// the scale factors (rows + offset) / sqrt(N) and (columns + offset) / sqrt(N); facebookresearch/dino and dinov2 without registers take
/// 0.1, which guards the output size against rounding and shifts the sampled positions a little (dino issue 8). offset 0: by the exact
/// sizes, as dinov2 with registers and transformers do. antialias: the antialiased filter (dinov2 with registers).
at::Tensor resize_pos_embed(const at::Tensor& pos_embed, int64_t rows, int64_t columns, double offset = 0.1, bool antialias = false);

}  // namespace dinoxx
