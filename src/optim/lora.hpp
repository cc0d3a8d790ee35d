#pragma once
#include "adamw.hpp"

namespace dinoxx {

/// AdamW, but for the weight matrices of a backbone's blocks (is_block_matrix), which change by products of low rank (Hu et al. 2021,
/// LoRA): W = W0 + alpha / r B A with A [r, n], B [m, r]. The network holds W itself, so that forward passes, averages, checkpoints and
/// exports need not know of the factors. From the gradient G of W follow those of the factors, alpha / r B^T G and alpha / r G A^T, and
/// AdamW moves these; W moves by the difference of the products. Weight decay pulls the factors to 0, and so W to W0. A begins uniform in
/// +-1/sqrt(n), B at 0. Nothing is saved in the gradient's memory or traffic, which are those of W; moments of the factors lie where those
/// of W would.
class LoraAdamW final : public AdamW {
 public:
  /// UsageError for a rank with more numbers in the factors than in a matrix, and for a network without such matrices.
  LoraAdamW(const ParamLayout& layout, at::ScalarType dtype, AdamWConfig config, const LoraConfig& lora);
  void step(const ParamLayout& layout, FlatState& state, double lr, double weight_decay, const std::vector<SegmentRule>& rules) override;
  std::vector<std::pair<std::string, at::Tensor>> named_state() const override;

  at::Tensor factors;  ///< [layout.numel]; of a matrix, at its place: A, then B, then nothing

 private:
  AdamWConfig config_;
  LoraConfig lora_;
};

}  // namespace dinoxx
