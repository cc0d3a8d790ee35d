// KoLeo on a GPU, behind raw pointers: the .cu file includes no LibTorch header.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/loss/loss_level.hpp"

/// Features [N, D] in groups of `group` consecutive rows; sums in float32 in a fixed order, the loss's in float64.
namespace dinoxx::loss_cuda {

using loss_kernel::Storage;

/// What forward leaves for backward.
struct KoleoRows {
  int64_t count = 0, dim = 0, group = 0, neighbours = 0;
  float* normalized = nullptr;  ///< [N, D]
  float* norm = nullptr;        ///< [N], at least eps
  int32_t* nearest = nullptr;   ///< [N, k], rows of all N
  float* distance = nullptr;    ///< [N, k]
};

/// normalized and norm of features.
cudaError_t launch_normalize(Storage type, const void* features, const KoleoRows& rows, float eps, cudaStream_t stream);
/// nearest and distance from the dot products within groups [N / group, group, group], and loss [1] = - mean log(distance + eps). Of equal
/// products the first counts; NaN is no neighbour, and makes the loss NaN as its own row.
cudaError_t launch_nearest(const float* dots, const KoleoRows& rows, float eps, float* loss, cudaStream_t stream);
/// grad (like features) = *weight * d loss / d features; scratch [N, D].
cudaError_t launch_koleo_backward(Storage type, void* grad, const KoleoRows& rows, float eps, const float* weight, float* scratch,
                                  cudaStream_t stream);

}  // namespace dinoxx::loss_cuda
