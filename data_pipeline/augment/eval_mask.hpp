#pragma once
#include "views.hpp"

namespace dinoxx {

/// The part of a mask that make_eval_view shows of its image, which has the mask's size: 1 = object, 0 = background, [crop, crop]. Each
/// pixel takes the mask's value at its centre.
void make_eval_mask(const Image& mask, const EvalTransform& transform, uint8_t* out);

}  // namespace dinoxx
