#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace dinoxx {

/// Activation checkpointing (Chen et al. 2016): f(inputs) without keeping what its backward pass needs; that pass runs f again. `f` must be
/// a function of `inputs` and `weights` alone, the same at both times (all draws of dinoxx are). The gradients are those of the plain call
/// bit for bit, and each weight receives its gradient once.
using Recomputed = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& inputs)>;
std::vector<at::Tensor> recompute(const Recomputed& f, const std::vector<at::Tensor>& inputs, const std::vector<at::Tensor>& weights);

}  // namespace dinoxx
