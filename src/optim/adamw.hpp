#pragma once
#include "optimizer.hpp"

namespace dinoxx {

/// AdamW (Loshchilov & Hutter 2019; torch.optim.AdamW's arithmetic and order of operations) over the flat buffers. Without fused
/// multiply-adds: the result does not depend on the processor either.
class AdamW : public Optimizer {
 public:
  AdamW(const ParamLayout& layout, at::ScalarType dtype, AdamWConfig config = {});
  void step(const ParamLayout& layout, FlatState& state, double lr, double weight_decay, const std::vector<SegmentRule>& rules) override;
  std::vector<std::pair<std::string, at::Tensor>> named_state() const override;

  at::Tensor exp_avg, exp_avg_sq;  ///< [layout.numel]

 private:
  AdamWConfig config_;
};

}  // namespace dinoxx
