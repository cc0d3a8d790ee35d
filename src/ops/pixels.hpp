#pragma once
#include <ATen/core/Tensor.h>

#include <array>

namespace dinoxx::ops {

/// Crops as the networks see them, from bytes in main memory: bytes * scale + shift for each channel, in float32, then `type`. bytes [N, 3,
/// H, W] uint8, page-locked if the host is not to wait for the copy; -> [N, 3, H, W] on `device`, a GPU. An Error in a build without CUDA.
at::Tensor normalized_pixels(const at::Tensor& bytes, const std::array<float, 3>& scale, const std::array<float, 3>& shift,
                             at::ScalarType type, at::Device device);

}  // namespace dinoxx::ops
