// Gradients into the flat buffer on a GPU, behind raw pointers: the .cu file includes no LibTorch header.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

namespace dinoxx::parallel_detail {

struct GatherRun {
  const void* from = nullptr;      ///< [numel], float32 or bfloat16
  int64_t offset = 0, numel = 0;   ///< of the flat buffer
  bool bf16 = false, add = false;  ///< the source's type; add to what is there
};

/// flat[offset, offset + numel) = or += from, for each run, as float32. Any number of runs; they may not overlap.
cudaError_t launch_gather(const GatherRun* runs, int count, float* flat, cudaStream_t stream);

}  // namespace dinoxx::parallel_detail
