#pragma once
#include "resize.hpp"

namespace dinoxx {

/// Pillow's ImageFilter.GaussianBlur(sigma) in place, equal in every bit: three extended box filters along rows, then three along columns,
/// each rounded to 8 bits, edge pixels repeated (Gwosdek et al., "Theoretical foundations of Gaussian convolution by extended box
/// filtering", SSVM 2011, for the box radius). `channels` planes are treated, from the first. sigma == 0 leaves the image as it is; a
/// negative sigma is an Error.
void gaussian_blur(PlanarImage& image, float sigma, ScratchBuffer<uint8_t>& scratch, int channels = 3);

/// torchvision's GaussianBlur(kernel_size 9, sigma) of an 8-bit image in place: nine taps exp(-x^2 / (2 sigma^2)) in each direction, edges
/// reflected without repeating the last pixel, float32, rounded once, half to even. torchvision sums the 81 products of the outer product
/// in an order of its own: a result within 1e-4 of a half may round to the other side. Error for sigma <= 0 or a side of less than 5
/// pixels.
void gaussian_blur9(PlanarImage& image, float sigma, ScratchBuffer<uint8_t>& scratch, int channels = 3);

}  // namespace dinoxx
