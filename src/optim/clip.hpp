#pragma once
#include "rules.hpp"

namespace dinoxx {

// Both leave out what a step does not move (frozen, not trainable): it is neither counted nor scaled. They return the root of the sum of
// all squares before clipping. max_norm <= 0: nothing is scaled. A norm that is not finite scales nothing and shows in the returned value.

/// DINO v1 (facebookresearch/dino utils.py, clip_gradients): each parameter's gradient scaled by min(1, max_norm / (norm + 1e-6)).
double clip_per_parameter(const ParamLayout& layout, FlatState& state, double max_norm, const std::vector<SegmentRule>& rules);

/// DINOv2 and DINOv3: backbone and each head (the name's first component) by its own norm, scaled by min(1, max_norm / (norm + 1e-6)) as
/// torch.nn.utils.clip_grad_norm_.
double clip_per_module(const ParamLayout& layout, FlatState& state, double max_norm, const std::vector<SegmentRule>& rules);

}  // namespace dinoxx
