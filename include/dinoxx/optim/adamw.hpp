#pragma once
#include "dinoxx/parallel/param_layout.hpp"

namespace dinoxx {

struct AdamWConfig {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
};

/// AdamW (Loshchilov & Hutter 2019; torch.optim.AdamW's arithmetic and order of operations) over the flat buffers. State is public for checkpoints.
class AdamW {
 public:
  AdamW(const ParamLayout& layout, at::ScalarType dtype, AdamWConfig config = {});
  /// One step. Segments with decay == false get weight decay 0. Segments frozen in this step (freeze_last_layer and Segment::last_layer, or not trainable) skip decay,
  /// moments and their step count. Publishes what it changed (compute copy) in the same pass. Element by element in a fixed order without fused multiply-adds: the
  /// result depends neither on threads nor on the processor. CPU: float32 or float64; GPU: float32.
  void step(const ParamLayout& layout, FlatState& state, double lr, double weight_decay, bool freeze_last_layer);
  at::Tensor exp_avg, exp_avg_sq;        ///< [layout.numel]
  std::vector<int64_t> segment_steps;    ///< per segment

 private:
  AdamWConfig config_;
};

/// DINO v1 clipping (facebookresearch/dino utils.py, clip_gradients): each parameter's gradient scaled by min(1, max_norm / (norm + 1e-6)). max_norm <= 0: nothing is
/// scaled. Returns the norms' root-sum-square (before clipping). Segments that this step does not move (frozen, not trainable) are neither counted nor scaled. A norm
/// that is not finite scales nothing and shows in the returned value.
double clip_per_parameter(const ParamLayout& layout, FlatState& state, double max_norm, bool freeze_last_layer);

/// teacher = m * teacher + (1 - m) * student over all segments and padding, in the masters' type; publishes the teacher's compute copy in the same pass.
void ema_update(FlatState& teacher, const FlatState& student, double momentum);

}  // namespace dinoxx
