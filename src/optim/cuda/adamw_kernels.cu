#include "adamw_kernels.hpp"
#include "kernels/cuda_device.hpp"

namespace dinoxx::optim_detail {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksPerRun = 128;
constexpr int kRunsPerLaunch = 64;  // 48 bytes each: they travel as the kernel's argument, no table is copied to the device

struct Runs {
  CudaRun run[kRunsPerLaunch];
};

// grid: [blocks, runs]
__global__ void adamw(const __grid_constant__ Runs runs, float* __restrict__ p, const float* __restrict__ g, float* __restrict__ m,
                      float* __restrict__ v, uint16_t* __restrict__ bf16) {
  const CudaRun& run = runs.run[blockIdx.y];
  const AdamWConstants<float> c = run.constants;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t k = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; k < run.numel; k += stride) {
    const int64_t i = run.begin + k;
    const float grad = g[i];
    const float first = m[i] + c.one_minus_beta1 * (grad - m[i]);
    const float second = v[i] * c.beta2 + c.one_minus_beta2 * grad * grad;
    const float value = p[i] * c.keep + c.minus_step_size * first / (sqrtf(second) / c.sqrt_correction2 + c.eps);
    m[i] = first;
    v[i] = second;
    p[i] = value;
    if (bf16) bf16[i] = cuda::bf16_bits(value);
  }
}

__global__ void average(float* __restrict__ t, const float* __restrict__ s, uint16_t* __restrict__ bf16, int64_t n, float keep, float add) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) {
    const float value = keep * t[i] + add * s[i];
    t[i] = value;
    if (bf16) bf16[i] = cuda::bf16_bits(value);
  }
}

int blocks_for(int64_t n, int limit) {
  const int64_t wanted = (n + kThreads - 1) / kThreads;
  return static_cast<int>(wanted < 1 ? 1 : wanted < limit ? wanted : limit);
}

}  // namespace

cudaError_t launch_adamw(const CudaRun* runs, int count, float* p, const float* g, float* m, float* v, uint16_t* bf16,
                         cudaStream_t stream) {
  for (int first = 0; first < count; first += kRunsPerLaunch) {
    const int now = count - first < kRunsPerLaunch ? count - first : kRunsPerLaunch;
    Runs part;
    int64_t longest = 0;
    for (int r = 0; r < now; ++r) {
      part.run[r] = runs[first + r];
      longest = part.run[r].numel > longest ? part.run[r].numel : longest;
    }
    DINOXX_LAUNCH(adamw, dim3(blocks_for(longest, kBlocksPerRun), now), kThreads, stream)(part, p, g, m, v, bf16);
    if (const cudaError_t code = cudaGetLastError(); code != cudaSuccess) return code;
  }
  return cudaSuccess;
}

cudaError_t launch_average(float* t, const float* s, uint16_t* bf16, int64_t n, float keep, float add, cudaStream_t stream) {
  DINOXX_LAUNCH(average, blocks_for(n, 4096), kThreads, stream)(t, s, bf16, n, keep, add);
  return cudaGetLastError();
}

}  // namespace dinoxx::optim_detail
