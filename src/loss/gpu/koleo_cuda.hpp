#pragma once
#include <ATen/core/Tensor.h>

/// KoLeo by own kernels on a GPU (koleo_kernels.cu), for groups within a rank's batch. No function waits for the GPU.
namespace dinoxx::loss_cuda {

/// Whether features [N, D] run on the own kernels: on a GPU, float32 or bfloat16, and ops::fused(). A build without CUDA: false.
bool takes_koleo(const at::Tensor& features);

/// The loss, and what backward needs.
struct KoleoForward {
  at::Tensor loss;        ///< scalar float32
  at::Tensor normalized;  ///< [N, D] float32
  at::Tensor norm;        ///< [N]
  at::Tensor nearest;     ///< [N, top_k] int32, rows of all N
  at::Tensor distance;    ///< [N, top_k]
};
/// features [N, D] float32 or bfloat16, contiguous, groups of `group` consecutive rows (group divides N, top_k < group).
KoleoForward koleo_forward(const at::Tensor& features, int64_t group, int64_t top_k, double eps);
/// weight * d loss / d features, [N, D] of `type`; weight: a float32 scalar on the features' device.
at::Tensor koleo_backward(const KoleoForward& forward, int64_t group, double eps, const at::Tensor& weight, at::ScalarType type);

}  // namespace dinoxx::loss_cuda
