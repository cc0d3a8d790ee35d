#pragma once
#include <ATen/core/Tensor.h>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// KoLeo regulariser (Sablayrolles et al. 2018, dino_family.md 2.2 and 3.2): - mean over images and their top_k nearest neighbours of
/// log(|| x - x_neighbour + 1e-8 || + 1e-8), x the L2-normalised features in float32 (float64 for float64), neighbours by the largest dot
/// product within the group, the image itself put at -1 (both 1e-8 are the published code's). Spreads the features of a batch.
///
/// features [B, D]: CLS features before the head, of ONE view (call it for each; DINOv2 adds the two views up). A group is group_size
/// consecutive slots of the global batch, of which rank r holds [r B, (r + 1) B), so that the value does not depend on the number of ranks.
/// DINOv2 as released: top_k 1 and groups of a rank's batch; DINOv3's distributed form: any group_size and top_k.
///
/// group_size divides B (comm unused, may be null), or is a multiple of B and divides the global batch: then features are gathered over
/// `comm` (gather.hpp) and each rank's loss is the mean over its own images. 0: the global batch. Memory: float32 [B, group_size] and 6 [B
/// top_k, D]. Error when groups do not fit, when a group has one image, or top_k images or fewer. The gradient is finite for equal images.
at::Tensor koleo_loss(const at::Tensor& features, int64_t group_size, int64_t top_k, Communicator* comm);

/// UsageError, for start-up, when koleo_loss would refuse these sizes on `world_size` ranks with local batches of `batch`.
void check_koleo(int64_t batch, int world_size, int64_t group_size, int64_t top_k);

}  // namespace dinoxx
