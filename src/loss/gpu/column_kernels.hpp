// Sums over the rows of logits on a GPU, behind raw pointers: the .cu file includes no LibTorch header.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/loss/loss_level.hpp"
#include "prototype_limits.hpp"

/// As prototype_loss_kernels.hpp.
namespace dinoxx::loss_cuda {

using loss_kernel::Storage;

/// Sums over the rows of logits [M, K].
struct ColumnPass {
  Storage type = Storage::kFloat;
  const void* logits = nullptr;
  int64_t rows = 0, dim = 0;
  float* scratch = nullptr;  ///< [columns_scratch()]
  float* sums = nullptr;     ///< [K]
};
int64_t columns_scratch(const ColumnPass& pass);
/// log sum_i exp(logits_ij / temp) = top[j] + log sums[j].
cudaError_t launch_log_sum_exp(const ColumnPass& pass, double temp, float* top, cudaStream_t stream);
/// sums[j] = sum_i softmax((logits_i - centre) / temp)[j]; is_top (uint8 [K] or null): 1 for the largest of each row, the first of equals.
cudaError_t launch_softmax_sums(const ColumnPass& pass, const float* centre, double temp, uint8_t* is_top, cudaStream_t stream);
/// sums[j] = sum_i row_weight[i] logits_ij.
cudaError_t launch_weighted_sums(const ColumnPass& pass, const float* row_weight, cudaStream_t stream);

/// Sinkhorn-Knopp between its sums over ranks, [K] each: sums *= exp(own_top - top).
cudaError_t launch_rescale(float* sums, const float* own_top, const float* top, int64_t dim, cudaStream_t stream);
/// centre = temp (top + log sums), 0 where the sum is 0.
cudaError_t launch_first_centre(float* centre, const float* top, const float* sums, double temp, int64_t dim, cudaStream_t stream);
/// centre += temp log sums where the sum is not 0.
cudaError_t launch_next_centre(float* centre, const float* sums, double temp, int64_t dim, cudaStream_t stream);

}  // namespace dinoxx::loss_cuda
