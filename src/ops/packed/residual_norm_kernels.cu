#include "token_device.hpp"

namespace dinoxx::ops::cuda {
namespace {

static_assert(kMaxDim <= 2 * kMaxThreads * kVector<Bf16> && kMaxDim <= 4 * kMaxThreads * kVector<float>, "vectors a thread");

// A block for a row at a time, N vectors a thread.
template <class T, int N>
__global__ void residual_norm(const __grid_constant__ ResidualNorm work, int64_t rows) {
  constexpr int V = kVector<T>;
  __shared__ float shared[2][kMaxWarps];
  const int vectors = work.dim / V;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const Place place = place_of(work.rows, row);
    const int64_t from = work.branch ? row_in(work.from, row, place) : -1, to = work.y ? row_in(work.to, row, place) : -1;
    const float gain = from < 0 ? 0.0f : gain_of(work.from, place);
    float v[N][V];
    float sum = 0;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const int k = static_cast<int>(threadIdx.x) + i * static_cast<int>(blockDim.x);
      if (k >= vectors) continue;
      load_vector(static_cast<const T*>(work.x) + row * work.dim + k * V, v[i]);
      if (from >= 0) {
        float b[V];
        load_vector(static_cast<const T*>(work.branch) + from * work.dim + k * V, b);
#pragma unroll
        for (int j = 0; j < V; ++j) v[i][j] = rounded<T>(v[i][j] + gain * b[j]);
      }
      if (work.branch) store_vector(static_cast<T*>(work.z) + row * work.dim + k * V, v[i]);
#pragma unroll
      for (int j = 0; j < V; ++j) sum += v[i][j];
    }
    if (to < 0) continue;
    const float mean = block_sum(sum, shared[0]) / static_cast<float>(work.dim);
    float squares = 0;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if (static_cast<int>(threadIdx.x) + i * static_cast<int>(blockDim.x) >= vectors) continue;
#pragma unroll
      for (int j = 0; j < V; ++j) squares += (v[i][j] - mean) * (v[i][j] - mean);
    }
    const float rstd = 1.0f / sqrtf(block_sum(squares, shared[1]) / static_cast<float>(work.dim) + work.eps);
    if (threadIdx.x == 0) work.mean[to] = mean, work.rstd[to] = rstd;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const int k = static_cast<int>(threadIdx.x) + i * static_cast<int>(blockDim.x);
      if (k >= vectors) continue;
      float weight[V], bias[V];
      load_vector(static_cast<const T*>(work.weight) + k * V, weight);
      load_vector(static_cast<const T*>(work.bias) + k * V, bias);
#pragma unroll
      for (int j = 0; j < V; ++j) v[i][j] = (v[i][j] - mean) * rstd * weight[j] + bias[j];
      store_vector(static_cast<T*>(work.y) + to * work.dim + k * V, v[i]);
    }
  }
}

template <class T, int N>
__global__ void residual_norm_backward(const __grid_constant__ ResidualNormBackward work, int64_t rows) {
  constexpr int V = kVector<T>;
  __shared__ float shared[2][kMaxWarps];
  const int vectors = work.dim / V;
  const float inverse_dim = 1.0f / static_cast<float>(work.dim);
  float weight[N][V], of_weight[N][V] = {}, of_bias[N][V] = {}, of_branch[N][V] = {};
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const int k = static_cast<int>(threadIdx.x) + i * static_cast<int>(blockDim.x);
    if (work.dy && k < vectors) load_vector(static_cast<const T*>(work.weight) + k * V, weight[i]);
  }
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const Place place = place_of(work.rows, row);
    const int64_t from = row_in(work.from, row, place), to = work.dy ? row_in(work.to, row, place) : -1;
    float g[N][V] = {};
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const int k = static_cast<int>(threadIdx.x) + i * static_cast<int>(blockDim.x);
      if (work.dz && k < vectors) load_vector(static_cast<const T*>(work.dz) + row * work.dim + k * V, g[i]);
    }
    if (to >= 0) {
      const float mean = work.mean[to], rstd = work.rstd[to];
      float slope[N][V], normal[N][V];  // dy * weight and (z - mean) * rstd
      float sum = 0, dot = 0;
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const int k = static_cast<int>(threadIdx.x) + i * static_cast<int>(blockDim.x);
        if (k >= vectors) continue;
        load_vector(static_cast<const T*>(work.dy) + to * work.dim + k * V, slope[i]);
        load_vector(static_cast<const T*>(work.z) + row * work.dim + k * V, normal[i]);
#pragma unroll
        for (int j = 0; j < V; ++j) {
          normal[i][j] = (normal[i][j] - mean) * rstd;
          of_weight[i][j] += slope[i][j] * normal[i][j];
          of_bias[i][j] += slope[i][j];
          slope[i][j] *= weight[i][j];
          sum += slope[i][j];
          dot += slope[i][j] * normal[i][j];
        }
      }
      sum = block_sum(sum, shared[0]) * inverse_dim;
      dot = block_sum(dot, shared[1]) * inverse_dim;
#pragma unroll
      for (int i = 0; i < N; ++i) {
        if (static_cast<int>(threadIdx.x) + i * static_cast<int>(blockDim.x) >= vectors) continue;
#pragma unroll
        for (int j = 0; j < V; ++j) g[i][j] += rstd * (slope[i][j] - sum - normal[i][j] * dot);
      }
    }
    const float gain = from < 0 ? 0.0f : gain_of(work.from, place);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const int k = static_cast<int>(threadIdx.x) + i * static_cast<int>(blockDim.x);
      if (k >= vectors) continue;
      if (work.dx) store_vector(static_cast<T*>(work.dx) + row * work.dim + k * V, g[i]);
      if (from < 0) continue;
#pragma unroll
      for (int j = 0; j < V; ++j) {
        g[i][j] *= gain;
        of_branch[i][j] += g[i][j];
      }
      if (work.dbranch) store_vector(static_cast<T*>(work.dbranch) + from * work.dim + k * V, g[i]);
    }
  }
  float* const partial = work.partial + static_cast<int64_t>(blockIdx.x) * 3 * work.dim;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const int k = static_cast<int>(threadIdx.x) + i * static_cast<int>(blockDim.x);
    if (k >= vectors) continue;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      partial[k * V + j] = of_weight[i][j];
      partial[work.dim + k * V + j] = of_bias[i][j];
      partial[2 * work.dim + k * V + j] = of_branch[i][j];
    }
  }
}
template <class T>
int row_threads(int dim) {
  const int vectors = dim / kVector<T>, threads = (vectors + kWarpSize - 1) / kWarpSize * kWarpSize;
  return threads < kMaxThreads ? threads : kMaxThreads;
}

template <class T>
cudaError_t start_residual_norm(const ResidualNorm& work, cudaStream_t stream) {
  const int64_t rows = all_rows(work.rows);
  const int threads = row_threads<T>(work.dim), each = (work.dim / kVector<T> + threads - 1) / threads, blocks = blocks_for(rows, 1 << 16);
  if (each <= 1)
    DINOXX_LAUNCH_TOGETHER((residual_norm<T, 1>), blocks, threads, stream)(work, rows);
  else if (each <= 2 || sizeof(T) == 2)
    DINOXX_LAUNCH_TOGETHER((residual_norm<T, 2>), blocks, threads, stream)(work, rows);
  else
    DINOXX_LAUNCH_TOGETHER((residual_norm<float, 4>), blocks, threads, stream)(work, rows);
  return cudaGetLastError();
}

template <class T>
cudaError_t start_residual_norm_backward(const ResidualNormBackward& work, cudaStream_t stream) {
  const int64_t rows = all_rows(work.rows);
  const int threads = row_threads<T>(work.dim), each = (work.dim / kVector<T> + threads - 1) / threads;
  const int blocks = residual_norm_blocks(rows, work.dim, sizeof(T) == 2);
  if (each <= 1)
    DINOXX_LAUNCH_TOGETHER((residual_norm_backward<T, 1>), blocks, threads, stream)(work, rows);
  else if (each <= 2 || sizeof(T) == 2)
    DINOXX_LAUNCH_TOGETHER((residual_norm_backward<T, 2>), blocks, threads, stream)(work, rows);
  else
    DINOXX_LAUNCH_TOGETHER((residual_norm_backward<float, 4>), blocks, threads, stream)(work, rows);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_residual_norm(const ResidualNorm& work, cudaStream_t stream) {
  if (all_rows(work.rows) == 0) return cudaSuccess;
  return work.bf16 ? start_residual_norm<Bf16>(work, stream) : start_residual_norm<float>(work, stream);
}

int residual_norm_blocks(int64_t rows, int dim, bool bf16) {
  const int warps = (bf16 ? row_threads<Bf16>(dim) : row_threads<float>(dim)) / kWarpSize;
  return blocks_for(rows, kWarpsInFlight / warps);
}

cudaError_t launch_residual_norm_backward(const ResidualNormBackward& work, cudaStream_t stream) {
  return work.bf16 ? start_residual_norm_backward<Bf16>(work, stream) : start_residual_norm_backward<float>(work, stream);
}

}  // namespace dinoxx::ops::cuda
