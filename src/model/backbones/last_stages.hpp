#pragma once
#include <vector>

#include "backbone.hpp"

namespace dinoxx {

/// What a network has made of images on the way: after a block of a ViT, the final norm applied, or a stage of a ConvNeXt or ResNet.
struct StageMap {
  at::Tensor cls;  ///< [B, D] of a ViT; undefined for a convolutional network
  at::Tensor map;  ///< [B, D, h, w]; of a ConvNeXt the last one behind its final norm
};

/// Blocks of a ViT; 4 stages of the others.
int offered_stages(const Backbone& network);

/// The maps of the last n, the earliest first. Evaluation; images on the network's device and in its type. UsageError when n is not in
/// [1, offered_stages()]; Error for sides of which a ViT makes no grid.
std::vector<StageMap> last_stages(const Backbone& network, const at::Tensor& images, int n);

}  // namespace dinoxx
