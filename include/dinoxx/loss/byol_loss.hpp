#pragma once
#include <ATen/core/Tensor.h>

namespace dinoxx {

/// BYOL's loss (Grill et al. 2020, eq. 2): the sum over ordered pairs of different views v, g of the batch mean of
/// || p_v - t_g ||^2 = 2 - 2 cos(p_v, t_g), p and t L2-normalised. For two views L + L~ of the paper, in [0, 8], as solo-learn; not halved.
/// prediction [V, B, D] of the student's predictor, target [G, B, D] of the teacher's projector (the first G <= V views; no gradient).
/// Computed in float32 (float64 for float64). A pair never spans ranks. Memory: float32 [V, B, D] five times at most, small beside the
/// networks' own (D is a projection's width).
at::Tensor byol_loss(const at::Tensor& prediction, const at::Tensor& target);

}  // namespace dinoxx
