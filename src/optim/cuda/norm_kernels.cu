#include "norm_kernels.hpp"

#include "block_sums.hpp"
#include "kernels/cuda_device.hpp"

namespace dinoxx::optim_detail {
namespace {

using namespace cuda;

using Runs = RunTable<NormRun, 128>;
struct Groups {
  NormGroup group[256];
};
static_assert(sizeof(Runs) < 4000 && sizeof(Groups) < 4000, "arguments of a kernel");

// Of this thread's elements of the chunk.
template <bool kBoth>
__device__ void add_squares(const float* __restrict__ x, const float* __restrict__ y, Chunk chunk, float decay, double& first,
                            double& second) {
  const auto add = [&](float a, float b) {
    first += static_cast<double>(a) * static_cast<double>(a);
    if (kBoth) {
      const double moved = decay == 0 ? b : b + decay * a;
      second += moved * moved;
    }
  };
  int64_t begin = chunk.begin;
  if (is_aligned(x) && (!kBoth || is_aligned(y))) {
    const int64_t whole = begin + (chunk.end - begin) / 4 * 4;
    for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * 4; i < whole; i += kRunThreads * 4) {
      float a[4], b[4] = {0, 0, 0, 0};
      load_vector(x + i, a);
      if (kBoth) load_vector(y + i, b);
      for (int k = 0; k < 4; ++k) add(a[k], b[k]);
    }
    begin = whole;
  }
  for (int64_t i = begin + threadIdx.x; i < chunk.end; i += kRunThreads) add(x[i], kBoth ? y[i] : 0.0f);
}

template <bool kBoth>
__global__ void __launch_bounds__(kRunThreads)
    squares(const __grid_constant__ Runs runs, const float* x, const float* y, double* parts, int64_t all_parts) {
  __shared__ double shared[kRunThreads];
  const int r = run_of_block(runs);
  const NormRun& run = runs.run[r];
  double first = 0, second = 0;
  add_squares<kBoth>(x + run.begin, y + run.begin, chunk_of_block(runs, r), run.decay, first, second);
  const double sum = block_sum(first, shared);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
  if (!kBoth) return;
  __syncthreads();
  const double other = block_sum(second, shared);
  if (threadIdx.x == 0) parts[all_parts + blockIdx.x] = other;
}

__global__ void __launch_bounds__(kRunThreads)
    clip_coefficients(const __grid_constant__ Groups groups, const double* parts, double max_norm, double* squares, float* coefficients) {
  __shared__ double shared[kRunThreads];
  const NormGroup group = groups.group[blockIdx.x];
  const double sum = sum_of_parts(parts + group.first_part, group.parts, shared);
  if (threadIdx.x > 0) return;
  squares[blockIdx.x] = sum;
  const double coefficient = max_norm / (sqrt(sum) + 1e-6);
  coefficients[blockIdx.x] = max_norm > 0 && coefficient < 1 ? static_cast<float>(coefficient) : 1.0f;
}

__global__ void __launch_bounds__(kRunThreads) scale(const __grid_constant__ Runs runs, const float* coefficients, float* g) {
  const int r = run_of_block(runs);
  const NormRun& run = runs.run[r];
  const float coefficient = coefficients[run.group];
  if (coefficient == 1) return;
  const Chunk chunk = chunk_of_block(runs, r);
  float* const to = g + run.begin;
  int64_t begin = chunk.begin;
  if (is_aligned(to)) {
    const int64_t whole = begin + (chunk.end - begin) / 4 * 4;
    for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * 4; i < whole; i += kRunThreads * 4) {
      float v[4];
      load_vector(to + i, v);
      for (float& one : v) one *= coefficient;
      store_vector(to + i, v);
    }
    begin = whole;
  }
  for (int64_t i = begin + threadIdx.x; i < chunk.end; i += kRunThreads) to[i] *= coefficient;
}

}  // namespace

int64_t norm_parts(const NormRun* runs, int count) {
  int64_t parts = 0;
  for (int r = 0; r < count; ++r) parts += run_blocks(runs[r].numel);
  return parts;
}

cudaError_t launch_squares(const NormRun* runs, int count, const float* x, const float* y, double* parts, cudaStream_t stream) {
  const int64_t all = norm_parts(runs, count);
  return for_each_table<Runs>(runs, count, [&](const Runs& table, int first) {
    double* const to = parts + norm_parts(runs, first);
    if (y)
      DINOXX_LAUNCH_TOGETHER((squares<true>), table.blocks, kRunThreads, stream)(table, x, y, to, all);
    else
      DINOXX_LAUNCH_TOGETHER((squares<false>), table.blocks, kRunThreads, stream)(table, x, x, to, all);
  });
}

cudaError_t launch_clip_coefficients(const NormGroup* groups, int count, const double* parts, double max_norm, double* squares,
                                     float* coefficients, cudaStream_t stream) {
  constexpr int kMost = 256;
  for (int first = 0; first < count; first += kMost) {
    const int now = count - first < kMost ? count - first : kMost;
    Groups table;
    for (int g = 0; g < now; ++g) table.group[g] = groups[first + g];
    DINOXX_LAUNCH_TOGETHER(clip_coefficients, now, kRunThreads, stream)(table, parts, max_norm, squares + first, coefficients + first);
    if (const cudaError_t code = cudaGetLastError(); code != cudaSuccess) return code;
  }
  return cudaSuccess;
}

cudaError_t launch_scale(const NormRun* runs, int count, const float* coefficients, float* g, cudaStream_t stream) {
  return for_each_table<Runs>(runs, count, [&](const Runs& table, int) {
    DINOXX_LAUNCH(scale, table.blocks, kRunThreads, stream)(table, coefficients, g);
  });
}

}  // namespace dinoxx::optim_detail
