#pragma once
#include "ops/recompute.hpp"

namespace dinoxx {

/// f(inputs, weights), whose weights have their values only while f runs, and again while its backward pass does. What autograd saves of a
/// weight is no copy: its memory may go in between and come back elsewhere, in the same storage. f keeps what else its backward pass needs.
///
/// Two nodes do it: one behind f's outputs, the first that backward comes to, takes hold; one in front of f's inputs and weights, to which
/// it comes when all of their gradients are there, lets go. So f has to take its weights from its argument alone. What it makes of weights
/// in memory of their own and saves (LayerScale as a part of the layer before it) stays there. Gradients are those of the plain call bit
/// for bit. Where backward breaks off, the graph lets go when it is freed.
Tensors while_held(const OfWeights& f, const Tensors& inputs, const Tensors& weights, const Hold& hold);

}  // namespace dinoxx
