// Device functions and sizes of launches that the kernels of this folder share.
#pragma once
#include "kernels/cuda_device.hpp"
#include "token_kernels.hpp"

namespace dinoxx::ops::cuda {

using namespace dinoxx::cuda;

// For a GPU of 132 multiprocessors; others do as well with a few blocks more or less.
constexpr int kWarpsInFlight = 132 * 16;
constexpr int kMaxThreads = 256;

struct Place {
  int group, sample, token;
};
__device__ __forceinline__ Place place_of(const RowGroups& groups, int64_t row) {
  int i = 0;
  while (i + 1 < groups.count && row >= groups.first_row[i + 1]) ++i;
  const int local = static_cast<int>(row - groups.first_row[i]), sample = local / groups.tokens[i];
  return {i, groups.first_sample[i] + sample, local - sample * groups.tokens[i]};
}
/// The branch's row of a row of the stream, or -1 where the sample does not run.
__device__ __forceinline__ int64_t row_in(const Branch& branch, int64_t row, const Place& place) {
  if (!branch.slot) return row;
  const int slot = branch.slot[place.sample];
  const RowGroups& rows = branch.rows;
  return slot < 0 ? -1
                  : rows.first_row[place.group] + static_cast<int64_t>(slot - rows.first_sample[place.group]) * rows.tokens[place.group] +
                        place.token;
}
__device__ __forceinline__ float gain_of(const Branch& branch, const Place& place) {
  return branch.gain ? branch.gain[place.sample] : 1.0f;
}

constexpr float kRootHalf = 0.70710678118654752440f, kInverseRootTwoPi = 0.39894228040143267794f;

__device__ __forceinline__ float gelu_of(float u) {
  return 0.5f * u * (1.0f + erff(u * kRootHalf));
}
__device__ __forceinline__ float gelu_slope(float u) {
  return 0.5f * (1.0f + erff(u * kRootHalf)) + u * expf(-0.5f * u * u) * kInverseRootTwoPi;
}
__device__ __forceinline__ float sigmoid(float x) {
  return 1.0f / (1.0f + expf(-x));
}

__device__ __forceinline__ int64_t first_item() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ int64_t all_threads() {
  return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

inline int64_t all_rows(const RowGroups& rows) {
  return rows.first_row[rows.count];
}
inline int blocks_for(int64_t items, int64_t limit) {
  return static_cast<int>(items < 1 ? 1 : items < limit ? items : limit);
}
inline int item_blocks(int64_t items) {
  return blocks_for((items + kMaxThreads - 1) / kMaxThreads, 1 << 16);
}

}  // namespace dinoxx::ops::cuda
