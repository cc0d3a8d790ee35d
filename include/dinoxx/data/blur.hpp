#pragma once
#include "dinoxx/data/resize.hpp"

namespace dinoxx {

/// Pillow's ImageFilter.GaussianBlur(sigma) in place, equal in every bit: three extended box filters along rows, then three along columns,
/// each rounded to 8 bits, edge pixels repeated (Gwosdek et al., "Theoretical foundations of Gaussian convolution by extended box
/// filtering", SSVM 2011, for the box radius). `channels` planes are treated, from the first. sigma == 0 leaves the image as it is; a
/// negative sigma is an Error.
void gaussian_blur(PlanarImage& image, float sigma, ScratchBuffer<uint8_t>& scratch, int channels = 3);

}  // namespace dinoxx
