#pragma once
#include <ATen/core/Tensor.h>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// NT-Xent of SimCLR (Chen et al. 2020, eq. 1): for each of the 2 N projections of the N images of all ranks, cross-entropy of its other
/// view among all but itself, by cosine similarity / temp; the mean over this rank's projections. z [2, B, D], B equal on all ranks;
/// computed in float32 (float64 for float64). With the differentiable gather (gather.hpp) the mean over ranks and its gradient are the
/// whole batch's. Memory: float32 [2 B, 2 N] three times. Error for other than two views, or fewer than two images over all ranks.
at::Tensor nt_xent(const at::Tensor& z, double temp, Communicator& comm);

}  // namespace dinoxx
