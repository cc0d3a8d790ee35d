#pragma once
#include <ATen/core/Tensor.h>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// The three parts of VICReg's loss, scalars; the loss is their weighted sum.
struct VarianceCovariance {
  at::Tensor invariance;  ///< mean squared difference of the two views, over images and channels
  at::Tensor variance;    ///< mean over views and channels of max(0, 1 - sqrt(Var + 1e-4))
  at::Tensor covariance;  ///< sum over views of the squared covariances of different channels, divided by D
};

/// VICReg (Bardes, Ponce and LeCun 2022, arXiv 2105.04906, eq. 1 to 6). Variances and covariances are unbiased, over the N images of all
/// ranks. Factors are those of the released code (facebookresearch/vicreg), for which the weights 25, 25 and 1 are meant: the paper's eq. 5
/// divides the first part by N alone, and its eq. 6 has twice the second.
///
/// z [2, B, D], not normalised, B equal on all ranks; computed in float32 (float64 for float64). With the differentiable gather
/// (gather.hpp) the mean over ranks and its gradient are the whole batch's. Memory: [2, N, D] four times, and [2, M, M], M the smaller of N
/// and D: the sum over [D, D] is made of [N, N] where that is less. Error for other than two views, or fewer than two images over all
/// ranks.
VarianceCovariance variance_covariance(const at::Tensor& z, Communicator& comm);

}  // namespace dinoxx
