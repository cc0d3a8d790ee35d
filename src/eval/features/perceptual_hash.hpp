#pragma once
#include <ATen/core/Tensor.h>

#include "features.hpp"

/// What a picture looks like from afar, in 63 numbers, without any network: finds pictures that were encoded again, resized or mirrored.
namespace dinoxx::eval {

/// Cosine of two hashes from which two pictures count as near copies. Measured: on 10,000 test images of CIFAR-10 17 pairs reach it, which
/// are the same photograph for the eye, and half of the images have no other above 0.64; 120 photographs encoded again at quality 10, at
/// half the size or mirrored all have 0.96 and more, while no two different ones have more than 0.65.
inline constexpr double kNearCopy = 0.95;

/// The hash as an embedder, "hash": brightness averaged down to 32 x 32, its discrete cosine transform without the mean up to the frequency
/// of 7 half waves in each direction, each weighted by its frequency (natural images have amplitudes that fall with it). Rows of images
/// without structure are 0, and so are like no other. Of each image three hashes side by side, of windows that begin a pixel further on.
Embedder hash_embedder();
inline constexpr int64_t kHashWindows = 3, kMiddle = 1;
/// The hashes of one window, of unit length. [N, 3 * 63] -> [N, 63]
at::Tensor hash_of_window(const at::Tensor& rows, int64_t window);

/// The hashes of the mirrored pictures. [N, 63]
at::Tensor mirrored_hashes(const at::Tensor& hashes);

}  // namespace dinoxx::eval
