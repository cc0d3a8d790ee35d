#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

namespace dinoxx {

/// Activation checkpointing (Chen et al. 2016): f(inputs) without keeping what its backward pass needs; that pass runs f again. `f` must be
/// a function of `inputs` and `weights` alone, the same at both times (all draws of dinoxx are). The gradients are those of the plain call
/// bit for bit, and each weight receives its gradient once.
///
/// `hold` is called before f, and its handle kept until what f needs is no longer used: the weights that f uses have to be there only then.
/// backward: for the second time.
using Recomputed = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& inputs)>;
using Hold = std::function<std::shared_ptr<void>(bool backward)>;
std::vector<at::Tensor> recompute(const Recomputed& f, const std::vector<at::Tensor>& inputs, const std::vector<at::Tensor>& weights,
                                  const Hold& hold = {});

}  // namespace dinoxx
