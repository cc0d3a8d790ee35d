// What the kernels of prototype_loss_kernels.cu and column_kernels.cu share: maximum, sum and entropy of rows of logits in one read. For
// .cu files. Exponentials are powers of two: `scale` is log2(e) / temperature, and what is weighted by them is multiplied by ln 2 at the
// end.
#pragma once
#include <cmath>

#include "kernels/cuda_device.hpp"

namespace dinoxx::loss_cuda {

using cuda::Bf16, cuda::kMaxWarps, cuda::kVector;

constexpr double kLog2e = 1.4426950408889634, kLn2 = 0.69314718055994531;
constexpr float kLowest = -3e38f;
constexpr float kFloor = -126;                        // 2^x is a normal number above it; -infinity must not meet a probability of 0
constexpr int kRowThreads = 512, kFlatThreads = 256;  // at most, of a block

// Of one row of t = (logit - centre) * scale.
struct alignas(16) RowStatistics {
  float top;       // largest logit - centre
  float sum;       // of 2^(t - largest t)
  float weighted;  // of 2^(t - largest t) (t - largest t)
  float unused;
};
constexpr int64_t kRowFloats = sizeof(RowStatistics) / sizeof(float);

__device__ __forceinline__ double log_sum(const RowStatistics& row) {
  return log(static_cast<double>(row.sum));
}
__device__ __forceinline__ double entropy(const RowStatistics& row) {
  return log(static_cast<double>(row.sum)) - kLn2 * static_cast<double>(row.weighted) / static_cast<double>(row.sum);
}
__device__ __forceinline__ float floored(float x) {
  return x < kFloor ? kFloor : x;  // NaN stays
}

template <class T>
__device__ __forceinline__ void load_centred(const T* logits, const float* centre, float (&x)[kVector<T>]) {
  cuda::load_vector(logits, x);
  if (!centre) return;
#pragma unroll
  for (int part = 0; part < kVector<T>; part += 4) {
    float c[4];
    cuda::load_vector(centre + part, c);
#pragma unroll
    for (int i = 0; i < 4; ++i) x[part + i] -= c[i];
  }
}

// All threads of a block, one row. `place`: in all threads the index of the row's first largest element, when it is wanted; -1 where no
// element is a number above kLowest.
template <class T, bool kPlace>
__device__ inline RowStatistics row_statistics(const T* row, const float* centre, int dim, float scale, float (*shared)[kMaxWarps],
                                               int* place) {
  float top = kLowest, sum = 0, weighted = 0;
  int own_place = -1;
  for (int j = static_cast<int>(threadIdx.x) * kVector<T>; j < dim; j += static_cast<int>(blockDim.x) * kVector<T>) {
    float x[kVector<T>];
    load_centred(row + j, centre ? centre + j : nullptr, x);
    float most = top;
#pragma unroll
    for (int i = 0; i < kVector<T>; ++i) most = x[i] > most ? x[i] : most;
    if (most > top) {
      const float shift = floored((top - most) * scale), factor = exp2f(shift);
      weighted = (weighted + shift * sum) * factor;
      sum *= factor;
      top = most;
      if constexpr (kPlace) {
#pragma unroll
        for (int i = kVector<T> - 1; i >= 0; --i) own_place = x[i] == most ? j + i : own_place;
      }
    }
#pragma unroll
    for (int i = 0; i < kVector<T>; ++i) {
      const float t = (x[i] - top) * scale, e = exp2f(t);
      sum += e;
      weighted += e * floored(t);
    }
  }
  RowStatistics all;
  all.top = cuda::block_max(top, shared[0]);
  const float shift = floored((top - all.top) * scale), factor = exp2f(shift);
  all.sum = cuda::block_sum(sum * factor, shared[1]);
  all.weighted = cuda::block_sum((weighted + shift * sum) * factor, shared[2]);
  all.unused = 0;
  if constexpr (kPlace) {
    const float first = cuda::block_max(top == all.top && own_place >= 0 ? static_cast<float>(-own_place) : kLowest, shared[3]);
    *place = first > kLowest ? static_cast<int>(-first) : -1;
  }
  return all;
}

template <class T>
struct Rows {
  const T* logits;
  const float* centre;  // [K] or null
  int64_t count;
  float scale;
  RowStatistics* statistics;  // [count]
};

// A block for each row of `first`, then of `second`.
template <class T, bool kPlace>
__global__ void __launch_bounds__(kRowThreads) statistics_of_rows(Rows<T> first, Rows<T> second, int dim, uint8_t* is_top) {
  __shared__ float shared[4][kMaxWarps];
  const bool in_first = static_cast<int64_t>(blockIdx.x) < first.count;
  const Rows<T> rows = in_first ? first : second;
  const int64_t row = static_cast<int64_t>(blockIdx.x) - (in_first ? 0 : first.count);
  int place = -1;
  const RowStatistics all = row_statistics<T, kPlace>(rows.logits + row * dim, rows.centre, dim, rows.scale, shared, &place);
  if (threadIdx.x != 0) return;
  rows.statistics[row] = all;
  if (kPlace && place >= 0) is_top[place] = 1;  // of several rows the same value
}

inline unsigned blocks_for(int64_t work, int64_t threads) {
  return static_cast<unsigned>((work + threads - 1) / threads);
}

/// Whole warps, no more than there are vectors in K.
template <class T>
int threads_for(int64_t dim, int most) {
  const auto warps = static_cast<int64_t>(blocks_for(dim / kVector<T>, cuda::kWarpSize));
  return warps * cuda::kWarpSize < most ? static_cast<int>(warps) * cuda::kWarpSize : most;
}

inline float scale_of(double temp) {
  return static_cast<float>(kLog2e / temp);
}

}  // namespace dinoxx::loss_cuda
