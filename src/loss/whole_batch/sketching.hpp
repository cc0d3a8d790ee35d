#pragma once
#include <ATen/core/Tensor.h>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// The three parts of VISReg's regularisation, scalars; the loss has a weighted sum of them.
struct Sketching {
  at::Tensor centre;  ///< mean square of the channels' means
  at::Tensor scale;   ///< mean over channels of (1 - standard deviation)^2
  at::Tensor shape;   ///< mean squared distance of the sorted images along each direction to the quantiles of a Gaussian
};

/// VISReg (Wu et al. 2026, arXiv 2606.02572, eq. 1 to 6): means and biased deviations of the channels over the N images of all ranks, and
/// the sliced 2-Wasserstein distance to an isotropic Gaussian. For the shape the features are centred and divided by their deviation +
/// 1e-4, which gets no gradient there; the quantiles are those of i / (N + 1), i = 1 ... N. Each part is the mean over views.
///
/// z [V, B, D], not normalised, B equal on all ranks; directions [D, S], unit columns (sigreg_directions()); computed in float32 (float64
/// for float64). With the differentiable gather (gather.hpp) the mean over ranks and its gradient are the whole batch's. Memory: [V, N, D]
/// four times, [V, N, S] four times. Error for other shapes, or fewer than two images over all ranks.
Sketching sketching(const at::Tensor& z, const at::Tensor& directions, Communicator& comm);

}  // namespace dinoxx
