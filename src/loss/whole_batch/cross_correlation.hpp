#pragma once
#include <ATen/core/Tensor.h>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// The two parts of Barlow Twins' loss, scalars: the loss is the first plus lambda times the second.
struct CrossCorrelation {
  at::Tensor invariance;  ///< sum over channels of (1 - C_ii)^2
  at::Tensor redundancy;  ///< sum over different channels of C_ij^2
};

/// Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230, eq. 1 and 2): C = X^T Y / N is the cross-correlation of the channels of the two
/// views, X and Y of mean 0 and variance 1 over the N images of all ranks (biased variance + 1e-5, as batch norm has it).
///
/// z [2, B, D], not normalised, B equal on all ranks; computed in float32 (float64 for float64). With the differentiable gather
/// (gather.hpp) the mean over ranks and its gradient are the whole batch's. Memory: [2, N, D] four times, and [2, M, M], M the smaller of N
/// and D: the sum over [D, D] is made of [N, N] where that is less. Error for other than two views, or fewer than two images over all
/// ranks.
CrossCorrelation cross_correlation(const at::Tensor& z, Communicator& comm);

}  // namespace dinoxx
