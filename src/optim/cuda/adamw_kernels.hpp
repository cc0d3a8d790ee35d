// The GPU passes over flat buffers, behind raw pointers: the .cu file includes no LibTorch header. Compiled without fused multiply-adds:
// the same bits as on the CPU.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/optim/flat_kernels.hpp"

namespace dinoxx::optim_detail {

struct CudaRun {
  int64_t begin = 0, numel = 0;  ///< elements of the flat buffers
  AdamWConstants<float> constants;
};

/// AdamW over each run; `bf16` (flat, or null) gets the rounded parameters of the runs. Any number of runs; they may not overlap.
cudaError_t launch_adamw(const CudaRun* runs, int count, float* p, const float* g, float* m, float* v, uint16_t* bf16, cudaStream_t stream);
/// t = keep * t + add * s over n elements; `bf16` as above.
cudaError_t launch_average(float* t, const float* s, uint16_t* bf16, int64_t n, float keep, float add, cudaStream_t stream);

}  // namespace dinoxx::optim_detail
