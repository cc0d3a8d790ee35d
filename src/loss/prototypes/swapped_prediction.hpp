#pragma once
#include <ATen/core/Tensor.h>

#include "dinoxx/comm/communicator.hpp"
#include "dinoxx/loss/dino_loss.hpp"

namespace dinoxx {

/// SwAV (Caron et al. 2020, arXiv 2006.09882, eq. 1 to 5): cross-entropy between the code of each of the first `global_views` views and
/// softmax(logits / temp) of every other view, the mean over pairs and images. The code of a view is its assignment to prototypes by
/// Sinkhorn-Knopp (sinkhorn.hpp) with `codes_temp` over the images of all ranks, each view by itself; no gradient flows through it.
///
/// logits [V, B, K] of V >= 2 views, the first G of them global; figures of the codes stand in the teacher's place. Collectives on `comm`:
/// those of sinkhorn_centre, for each global view. Memory: that of dino_loss, and the codes' logits [G, B, K] in float32 (float64 for
/// float64). Error for other shapes and for temperatures that are not positive.
DinoLossResult swapped_prediction(const at::Tensor& logits, int64_t global_views, double temp, double codes_temp, int iterations,
                                  Communicator& comm);

}  // namespace dinoxx
