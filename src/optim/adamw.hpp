#pragma once
#include "clip.hpp"
#include "optimizer.hpp"

namespace dinoxx {

/// AdamW (Loshchilov & Hutter 2019; torch.optim.AdamW's arithmetic and order of operations) over the flat buffers. Without fused
/// multiply-adds: the result does not depend on the processor either.
class AdamW final : public Optimizer {
 public:
  AdamW(const ParamLayout& layout, at::ScalarType dtype, AdamWConfig config = {});
  void step(const ParamLayout& layout, FlatState& state, double lr, double weight_decay, const std::vector<SegmentRule>& rules) override;
  /// With DINO v1's rules: biases and 1-D parameters do not decay, a frozen last layer is skipped.
  void step(const ParamLayout& layout, FlatState& state, double lr, double weight_decay, bool freeze_last_layer);
  std::vector<std::pair<std::string, at::Tensor>> named_state() const override;

  at::Tensor exp_avg, exp_avg_sq;  ///< [layout.numel]

 private:
  AdamWConfig config_;
};

/// clip_per_parameter with DINO v1's rules.
double clip_per_parameter(const ParamLayout& layout, FlatState& state, double max_norm, bool freeze_last_layer);

/// teacher = m * teacher + (1 - m) * student over all segments and padding, in the masters' type; publishes the teacher's compute copy in
/// the same pass.
void ema_update(FlatState& teacher, const FlatState& student, double momentum);

}  // namespace dinoxx
