#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "toy.hpp"

namespace dinoxx {

/// Classes of "scenes": a kind of texture with a shape, in the order of texture_names().
const std::vector<std::string>& scene_names();

/// Image `index` of the set, of class `kind`. Random, and no sign of the class: the object's place, size (15 to 45 % of the image, wholly
/// inside), rotation and two colours, the background's two colours, its gradient and its faint texture, and zero to two small plain blobs
/// behind the object. The mask is the object's.
ToyImage draw_scene(int kind, const ToyOptions& options, uint64_t index);

}  // namespace dinoxx
