#pragma once
#include <optional>

#include "optimizer.hpp"

namespace dinoxx {

/// SGD with momentum and LARS, which is SGD whose segments have rates of their own.
class Sgd final : public Optimizer {
 public:
  Sgd(const ParamLayout& layout, at::ScalarType dtype, SgdConfig config);
  Sgd(const ParamLayout& layout, at::ScalarType dtype, LarsConfig config);
  void step(const ParamLayout& layout, FlatState& state, double lr, double weight_decay, const std::vector<SegmentRule>& rules) override;
  std::vector<std::pair<std::string, at::Tensor>> named_state() const override;

  at::Tensor velocity;  ///< [layout.numel]

 private:
  double momentum_;
  std::optional<LarsConfig> lars_;
};

}  // namespace dinoxx
