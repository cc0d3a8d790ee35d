// Sums in float64 over the threads of a block, for .cu files.
#pragma once
#include "kernels/cuda_runs.hpp"

namespace dinoxx::optim_detail {

/// The sum of x over kRunThreads threads, in thread 0: of 16 threads each, then of those. `shared` [kRunThreads] is free again once the
/// block has synchronised.
__device__ inline double block_sum(double x, double* shared) {
  constexpr int kParts = 16;
  static_assert(cuda::kRunThreads == kParts * kParts, "two sums of equal length");
  const int thread = static_cast<int>(threadIdx.x);
  shared[thread] = x;
  __syncthreads();
  double sum = 0;
  if (thread < kParts) {
    for (int k = 0; k < kParts; ++k) sum += shared[k * kParts + thread];
    shared[thread] = sum;
  }
  __syncthreads();
  if (thread > 0) return 0;
  for (int k = 1; k < kParts; ++k) sum += shared[k];
  return sum;
}

/// The sum of `count` numbers, in thread 0.
__device__ inline double sum_of_parts(const double* parts, int count, double* shared) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += cuda::kRunThreads) sum += parts[i];
  return block_sum(sum, shared);
}

}  // namespace dinoxx::optim_detail
