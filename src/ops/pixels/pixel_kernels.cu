#include "pixel_kernels.hpp"

#include "kernels/cuda_device.hpp"

namespace dinoxx::ops::cuda {
namespace {

using namespace dinoxx::cuda;

constexpr int kThreads = 256;

// N neighbours of one channel at a time, 4 where a plane holds a multiple of 4
template <class T, int N>
__global__ void normalize(const uint8_t* from, T* to, int64_t items, int64_t plane, const __grid_constant__ ChannelFactors factors) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t item = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; item < items; item += stride) {
    const int64_t first = item * N;
    const int channel = static_cast<int>(first / plane % 3);
    const float scale = factors.scale[channel], shift = factors.shift[channel];
    float v[4];
    if constexpr (N == 4) {
      const uint32_t word = *reinterpret_cast<const uint32_t*>(from + first);
#pragma unroll
      for (int j = 0; j < 4; ++j) v[j] = static_cast<float>(word >> (8 * j) & 0xffu);
    } else {
      v[0] = static_cast<float>(from[first]);
    }
#pragma unroll
    for (int j = 0; j < N; ++j) v[j] = __fadd_rn(__fmul_rn(v[j], scale), shift);
    if constexpr (N == 4) {
      store_four(to + first, v);
    } else {
      store(to + first, v[0]);
    }
  }
}

template <class T>
cudaError_t start(const uint8_t* from, T* to, int64_t images, int64_t plane, const ChannelFactors& factors, cudaStream_t stream) {
  const bool fours = plane % 4 == 0;
  const int64_t items = images * 3 * plane / (fours ? 4 : 1), blocks = (items + kThreads - 1) / kThreads;
  if (items == 0) return cudaSuccess;
  const int grid = static_cast<int>(blocks < (1 << 16) ? blocks : (1 << 16));
  if (fours)
    DINOXX_LAUNCH((normalize<T, 4>), grid, kThreads, stream)(from, to, items, plane, factors);
  else
    DINOXX_LAUNCH((normalize<T, 1>), grid, kThreads, stream)(from, to, items, plane, factors);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_normalize(bool bf16, const uint8_t* from, void* to, int64_t images, int64_t plane, const ChannelFactors& factors,
                             cudaStream_t stream) {
  return bf16 ? start(from, static_cast<Bf16*>(to), images, plane, factors, stream)
              : start(from, static_cast<float*>(to), images, plane, factors, stream);
}

}  // namespace dinoxx::ops::cuda
