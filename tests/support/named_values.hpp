#pragma once
#include <ATen/ATen.h>

#include <cmath>

#include "golden.hpp"

/// Values for the parameters and buffers of convolutional networks that are a function of name and shape alone, the same numbers as
/// named_value() in tests/golden/golden_common.py, so that no weights are stored:
///   num_batches_tracked 3; running_var 1 + u / 2; running_mean and *bias u / 5; *gamma u / 2; other vectors (gains) 1 + u / 5;
///   all else u sqrt(3 / fan_in), fan_in = numel / size(0), which keeps the variance;      u = uniform(name, index) in [-1, 1).
namespace dinoxx::golden {

inline at::Tensor named_value(const std::string& name, at::IntArrayRef shape) {
  if (name.ends_with("num_batches_tracked")) return at::full(shape, 3, at::kLong);
  const at::Tensor u = uniform(name, shape);
  if (name.ends_with("running_var")) return u * 0.5 + 1.0;
  if (name.ends_with("running_mean") || name.ends_with("bias")) return u * 0.2;
  if (name.ends_with("gamma")) return u * 0.5;
  if (shape.size() == 1) return u * 0.2 + 1.0;
  return u * std::sqrt(3.0 * static_cast<double>(shape[0]) / static_cast<double>(u.numel()));
}

inline void fill_named(const NamedTensors& tensors) {
  at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : tensors) tensor.copy_(named_value(name, tensor.sizes()));
}

}  // namespace dinoxx::golden
