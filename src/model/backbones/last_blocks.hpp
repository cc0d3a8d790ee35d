#pragma once
#include <vector>

#include "backbone.hpp"

namespace dinoxx {

/// What a network offers of its last blocks: a ViT's depth; 1 for ConvNeXt and ResNet, whose stages differ in width and of which only the
/// last map, pooled and as patches, is given.
int offered_blocks(const Backbone& network);

/// Features after each of the last n blocks, the final norm applied to each, the earliest first. Evaluation. UsageError when n is not in
/// [1, offered_blocks()].
std::vector<Features> last_blocks(const Backbone& network, const at::Tensor& images, int n);

/// The same for a linear classifier (dinov2/eval/linear.py): CLS of each of the last n blocks, earliest first, then the mean of the last
/// one's patches. [B, (n + 1) * feature_dim()] float32 on the CPU; images of any type and device.
at::Tensor last_blocks_row(const Backbone& network, const at::Tensor& images, int n);

}  // namespace dinoxx
