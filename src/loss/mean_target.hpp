#pragma once
#include <ATen/core/Tensor.h>

namespace dinoxx {

/// FastSiam's loss (Pototzky et al. 2022): each view's prediction is compared with the mean of the other views' projections, which steadies
/// the target; of two views SimSiam's (Chen and He 2021, eq. 2). The mean over views v and images of
/// 1 - cos(p_v, sum of z_u over u != v), in [0, 2]: 1 more than the papers'.
/// prediction, projection [V, B, D], V >= 2, of one network; no gradient through the projections. Computed in float32 (float64 for
/// float64). An image's views never span ranks. Error for other shapes.
at::Tensor mean_target_loss(const at::Tensor& prediction, const at::Tensor& projection);

}  // namespace dinoxx
