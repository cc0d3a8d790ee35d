#include "token_device.hpp"

namespace dinoxx::ops::cuda {
namespace {

// A block for each row of the two layers, one more for the bias of queries, keys and values.
template <class T>
__global__ void fold(const __grid_constant__ Fold work) {
  constexpr int V = kVector<T>;
  int row = static_cast<int>(blockIdx.x);
  for (const Fold::Part& part : work.part) {
    if (row >= part.rows) {
      row -= part.rows;
      continue;
    }
    const float gamma = to_float(static_cast<const T*>(part.gamma)[row]);
    const int64_t first = static_cast<int64_t>(row) * part.columns;
    for (int k = static_cast<int>(threadIdx.x); k < part.columns / V; k += static_cast<int>(blockDim.x)) {
      float v[V];
      load_vector(static_cast<const T*>(part.weight) + first + k * V, v);
#pragma unroll
      for (int j = 0; j < V; ++j) v[j] *= gamma;
      store_vector(static_cast<T*>(part.weight_out) + first + k * V, v);
    }
    if (part.bias && threadIdx.x == 0) store(static_cast<T*>(part.bias_out) + row, gamma * to_float(static_cast<const T*>(part.bias)[row]));
    return;
  }
  for (int c = static_cast<int>(threadIdx.x); c < 3 * work.dim; c += static_cast<int>(blockDim.x)) {
    const bool of_keys = c >= work.dim && c < 2 * work.dim;
    store(static_cast<T*>(work.qkv_bias_out) + c, of_keys ? 0.0f : to_float(static_cast<const T*>(work.qkv_bias)[c]));
  }
}

template <class T>
__global__ void fold_backward(const __grid_constant__ FoldBackward work) {
  constexpr int V = kVector<T>;
  __shared__ float shared[kMaxWarps];
  int row = static_cast<int>(blockIdx.x);
  for (const FoldBackward::Part& part : work.part) {
    if (row >= part.rows) {
      row -= part.rows;
      continue;
    }
    const float gamma = to_float(static_cast<const T*>(part.gamma)[row]);
    const int64_t first = static_cast<int64_t>(row) * part.columns;
    float dot = 0;
    for (int k = static_cast<int>(threadIdx.x); k < part.columns / V; k += static_cast<int>(blockDim.x)) {
      float d[V], w[V];
      load_vector(static_cast<const T*>(part.dweight_out) + first + k * V, d);
      load_vector(static_cast<const T*>(part.weight) + first + k * V, w);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        dot += d[j] * w[j];
        d[j] *= gamma;
      }
      store_vector(static_cast<T*>(part.dweight) + first + k * V, d);
    }
    dot = block_sum(dot, shared);
    if (threadIdx.x != 0) return;
    if (part.bias) {
      const float d = to_float(static_cast<const T*>(part.dbias_out)[row]);
      dot += d * to_float(static_cast<const T*>(part.bias)[row]);
      store(static_cast<T*>(part.dbias) + row, gamma * d);
    }
    store(static_cast<T*>(part.dgamma) + row, dot);
    return;
  }
  for (int c = static_cast<int>(threadIdx.x); c < 3 * work.dim; c += static_cast<int>(blockDim.x)) {
    const bool of_keys = c >= work.dim && c < 2 * work.dim;
    store(static_cast<T*>(work.dqkv_bias) + c, of_keys ? 0.0f : to_float(static_cast<const T*>(work.dqkv_bias_out)[c]));
  }
}

template <class T>
int fold_blocks(const T& work, bool with_bias) {
  return work.part[0].rows + work.part[1].rows + (with_bias ? 1 : 0);
}
constexpr int kFoldThreads = 128;

}  // namespace

cudaError_t launch_fold(const Fold& work, cudaStream_t stream) {
  const int blocks = fold_blocks(work, work.qkv_bias_out != nullptr);
  if (blocks == 0) return cudaSuccess;
  if (work.bf16)
    DINOXX_LAUNCH(fold<Bf16>, blocks, kFoldThreads, stream)(work);
  else
    DINOXX_LAUNCH(fold<float>, blocks, kFoldThreads, stream)(work);
  return cudaGetLastError();
}

cudaError_t launch_fold_backward(const FoldBackward& work, cudaStream_t stream) {
  const int blocks = fold_blocks(work, work.dqkv_bias != nullptr);
  if (blocks == 0) return cudaSuccess;
  if (work.bf16)
    DINOXX_LAUNCH_TOGETHER(fold_backward<Bf16>, blocks, kFoldThreads, stream)(work);
  else
    DINOXX_LAUNCH_TOGETHER(fold_backward<float>, blocks, kFoldThreads, stream)(work);
  return cudaGetLastError();
}

}  // namespace dinoxx::ops::cuda
