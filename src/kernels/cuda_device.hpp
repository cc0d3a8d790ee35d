// Device functions that the kernels of several .cu files need: elements as 16-byte vectors, sums over a warp and a block.
#pragma once
#include <cstdint>

#include "cuda_launch.hpp"

namespace dinoxx::cuda {

/// The bits of a bfloat16.
struct Bf16 {
  uint16_t bits;
};

/// Elements of a 16-byte vector.
template <class T>
inline constexpr int kVector = 16 / static_cast<int>(sizeof(T));

__device__ __forceinline__ float to_float(float x) {
  return x;
}
__device__ __forceinline__ float to_float(Bf16 x) {
  return __uint_as_float(static_cast<uint32_t>(x.bits) << 16);
}
/// Round to nearest even; NaN stays NaN.
__device__ __forceinline__ uint16_t bf16_bits(float x) {
  const uint32_t bits = __float_as_uint(x);
  return static_cast<uint16_t>(x != x ? 0x7fc0u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
/// Two at once, the first in the low half.
__device__ __forceinline__ uint32_t bf16_pair(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
#else
  return static_cast<uint32_t>(bf16_bits(low)) | (static_cast<uint32_t>(bf16_bits(high)) << 16);
#endif
}
__device__ __forceinline__ void store(float* to, float x) {
  *to = x;
}
__device__ __forceinline__ void store(Bf16* to, float x) {
  to->bits = bf16_bits(x);
}
/// x as it is read again after a store.
template <class T>
__device__ __forceinline__ float rounded(float x) {
  if constexpr (sizeof(T) == 4)
    return x;
  else
    return __uint_as_float(bf16_pair(x, 0.0f) << 16);
}

/// Whether vectors may be loaded from p; so it is for nullptr.
__device__ __forceinline__ bool is_aligned(const void* p) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

/// p is aligned to 16 bytes.
__device__ __forceinline__ void load_vector(const float* p, float (&v)[4]) {
  const uint4 bits = *reinterpret_cast<const uint4*>(p);
  v[0] = __uint_as_float(bits.x), v[1] = __uint_as_float(bits.y), v[2] = __uint_as_float(bits.z), v[3] = __uint_as_float(bits.w);
}
__device__ __forceinline__ void load_vector(const Bf16* p, float (&v)[8]) {
  const uint4 bits = *reinterpret_cast<const uint4*>(p);
  const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    v[2 * i] = __uint_as_float(words[i] << 16);
    v[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}
__device__ __forceinline__ void store_vector(float* p, const float (&v)[4]) {
  *reinterpret_cast<uint4*>(p) = {__float_as_uint(v[0]), __float_as_uint(v[1]), __float_as_uint(v[2]), __float_as_uint(v[3])};
}
__device__ __forceinline__ void store_vector(Bf16* p, const float (&v)[8]) {
  uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i)
    words[i] = static_cast<uint32_t>(bf16_bits(v[2 * i])) | (static_cast<uint32_t>(bf16_bits(v[2 * i + 1])) << 16);
  *reinterpret_cast<uint4*>(p) = {words[0], words[1], words[2], words[3]};
}

/// Four neighbours; p is aligned to four elements.
__device__ __forceinline__ void store_four(float* p, const float (&v)[4]) {
  store_vector(p, v);
}
__device__ __forceinline__ void store_four(Bf16* p, const float (&v)[4]) {
  *reinterpret_cast<uint2*>(p) = {bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3])};
}

constexpr int kWarpSize = 32;
constexpr int kMaxWarps = 32;

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int lane = kWarpSize / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
  return x;
}
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int lane = kWarpSize / 2; lane > 0; lane /= 2) {
    const float other = __shfl_xor_sync(0xffffffffu, x, lane);
    x = other > x || other != other ? other : x;  // NaN wins
  }
  return x;
}

/// The sum of x over the threads of a block (whole warps), in every thread; the order of additions is fixed. `shared` [kMaxWarps] is free
/// again once the block has synchronised.
__device__ __forceinline__ float block_sum(float x, float* shared) {
  x = warp_sum(x);
  const int warps = static_cast<int>(blockDim.x) / kWarpSize;
  if (warps == 1) return x;
  if (threadIdx.x % kWarpSize == 0) shared[threadIdx.x / kWarpSize] = x;
  __syncthreads();
  float sum = 0;
  for (int w = 0; w < warps; ++w) sum += shared[w];
  return sum;
}
__device__ __forceinline__ float block_max(float x, float* shared) {
  x = warp_max(x);
  const int warps = static_cast<int>(blockDim.x) / kWarpSize;
  if (warps == 1) return x;
  if (threadIdx.x % kWarpSize == 0) shared[threadIdx.x / kWarpSize] = x;
  __syncthreads();
  float most = shared[0];
  for (int w = 1; w < warps; ++w) most = shared[w] > most || shared[w] != shared[w] ? shared[w] : most;
  return most;
}

}  // namespace dinoxx::cuda
