#pragma once
#include <span>

#include "parallel/flat_state.hpp"
#include "rules.hpp"

namespace dinoxx {

/// Whose gradients are scaled together, each by min(1, max_norm / (norm + 1e-6)).
enum class ClipBy {
  kParameter,  ///< DINO v1 (facebookresearch/dino utils.py, clip_gradients)
  kModule,     ///< DINOv2 and DINOv3: backbone and each head (the name's first component), as torch.nn.utils.clip_grad_norm_
};

/// `layout`: of what the state's buffers hold, the shard's where the network is sharded; then collective over the ranks that share it.
/// What a step does not move (frozen, not trainable) is neither counted nor scaled. max_norm <= 0: nothing is scaled. The host does not
/// wait for a GPU: squares [segments] float64 on the gradient's device, zero before, gets sums of squares before clipping that make up that
/// of all. A norm that is not a number scales nothing and shows there. On a GPU float32.
void clip_gradient(const ParamLayout& layout, FlatState& state, double max_norm, ClipBy by, const std::vector<SegmentRule>& rules,
                   const at::Tensor& squares);
/// The root of the sum of `squares` in host memory.
double gradient_norm(std::span<const double> squares);

/// clip_gradient and the norm of all gradients before it; waits for a GPU.
double clip_per_parameter(const ParamLayout& layout, FlatState& state, double max_norm, const std::vector<SegmentRule>& rules);
double clip_per_module(const ParamLayout& layout, FlatState& state, double max_norm, const std::vector<SegmentRule>& rules);

}  // namespace dinoxx
