#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

namespace dinoxx {

/// The memory of some weights has their values until the handle goes; backward: for the backward pass. An empty handle: it always has.
using Hold = std::function<std::shared_ptr<void>(bool backward)>;
using Tensors = std::vector<at::Tensor>;
using OfWeights = std::function<Tensors(const Tensors& inputs, const Tensors& weights)>;

/// Activation checkpointing (Chen et al. 2016): f(inputs, weights) without keeping what its backward pass needs; that pass runs f again.
/// `f` must be a function of `inputs` and `weights` alone, the same at both times (all draws of dinoxx are). The gradients are those of the
/// plain call bit for bit, and each weight receives its gradient once.
///
/// `hold` is called before f, and its handle kept until what f needs is no longer used: the weights have to be there only then.
Tensors recompute(const OfWeights& f, const Tensors& inputs, const Tensors& weights, const Hold& hold = {});

}  // namespace dinoxx
