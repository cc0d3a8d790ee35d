#pragma once
#include <ATen/core/Tensor.h>

namespace dinoxx {

/// Square maps of tokens [B, n n, D] on a grid of `tokens` = m m cells: bilinear, with the antialiasing of a mean over what a larger cell
/// covers where m < n. Equal sizes: as it is. Differentiable; float32 at least where it resamples. Error for maps that are not square.
at::Tensor resampled_tokens(const at::Tensor& map, int64_t tokens);

}  // namespace dinoxx
