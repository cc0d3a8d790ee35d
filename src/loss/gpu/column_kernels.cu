#include "column_kernels.hpp"

#include "row_statistics.hpp"

namespace dinoxx::loss_cuda {
namespace {

constexpr int kColumnThreads = 128;
constexpr int64_t kMostChunks = 16, kFewestChunkRows = 16;

struct Chunks {
  explicit Chunks(int64_t rows) {
    size = (rows + kMostChunks - 1) / kMostChunks;
    size = size < kFewestChunkRows ? kFewestChunkRows : size;
    count = (rows + size - 1) / size;
  }
  int64_t size, count;
};

// The running maximum needs one exponential an element: of the distance to it, whichever side the element lies.
// grid: [columns, chunks of rows]; top and sums [chunks, K]
template <class T>
__global__ void __launch_bounds__(kColumnThreads)
    log_sum_exp_chunks(const T* logits, int64_t rows, int64_t chunk, int dim, float scale, float* top, float* sums) {
  const int column = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * kVector<T>;
  if (column >= dim) return;
  const int64_t begin = blockIdx.y * chunk, end = begin + chunk < rows ? begin + chunk : rows;
  float most[kVector<T>], sum[kVector<T>];
#pragma unroll
  for (int i = 0; i < kVector<T>; ++i) most[i] = kLowest, sum[i] = 0;
#pragma unroll 4
  for (int64_t row = begin; row < end; ++row) {
    float x[kVector<T>];
    cuda::load_vector(logits + row * dim + column, x);
#pragma unroll
    for (int i = 0; i < kVector<T>; ++i) {
      const bool above = x[i] > most[i];
      const float e = exp2f((above ? most[i] - x[i] : x[i] - most[i]) * scale);
      sum[i] = above ? sum[i] * e + 1 : sum[i] + e;
      most[i] = above ? x[i] : most[i];
    }
  }
#pragma unroll
  for (int i = 0; i < kVector<T>; ++i) {
    top[blockIdx.y * static_cast<int64_t>(dim) + column + i] = most[i];
    sums[blockIdx.y * static_cast<int64_t>(dim) + column + i] = sum[i];
  }
}

__global__ void __launch_bounds__(kFlatThreads)
    add_log_sum_exp(const float* tops, const float* parts, int chunks, int dim, float scale, float inv_temp, float* top, float* sums) {
  const int j = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (j >= dim) return;
  float most = kLowest, sum = 0;
  for (int c = 0; c < chunks; ++c) {
    const float x = tops[static_cast<int64_t>(c) * dim + j];
    most = x > most ? x : most;
  }
  for (int c = 0; c < chunks; ++c) {
    const int64_t at = static_cast<int64_t>(c) * dim + j;
    sum += parts[at] * exp2f((tops[at] - most) * scale);
  }
  top[j] = most > kLowest ? most * inv_temp : kLowest;
  sums[j] = sum;
}

// Softmax rows by their statistics, or logits times row_weight. grid: [columns, chunks of rows]; sums [chunks, K]
template <class T, bool kSoftmax>
__global__ void __launch_bounds__(kColumnThreads)
    sums_of_chunks(const T* logits, const float* centre, const RowStatistics* statistics, const float* row_weight, int64_t rows,
                   int64_t chunk, int dim, float scale, float* sums) {
  const int column = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * kVector<T>;
  if (column >= dim) return;
  const int64_t begin = blockIdx.y * chunk, end = begin + chunk < rows ? begin + chunk : rows;
  float middle[kVector<T>] = {}, sum[kVector<T>] = {};
  if constexpr (kSoftmax) {
#pragma unroll
    for (int i = 0; i < kVector<T>; ++i) middle[i] = centre[column + i];
  }
#pragma unroll 4
  for (int64_t row = begin; row < end; ++row) {
    float x[kVector<T>];
    cuda::load_vector(logits + row * dim + column, x);
    if constexpr (kSoftmax) {
      const RowStatistics all = statistics[row];
      const float factor = 1 / all.sum;
#pragma unroll
      for (int i = 0; i < kVector<T>; ++i) sum[i] += exp2f(((x[i] - middle[i]) - all.top) * scale) * factor;
    } else {
      const float weight = row_weight[row];
#pragma unroll
      for (int i = 0; i < kVector<T>; ++i) sum[i] += weight * x[i];
    }
  }
#pragma unroll
  for (int i = 0; i < kVector<T>; ++i) sums[blockIdx.y * static_cast<int64_t>(dim) + column + i] = sum[i];
}

__global__ void __launch_bounds__(kFlatThreads) add_sums(const float* parts, int chunks, int dim, float* sums) {
  const int j = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (j >= dim) return;
  float sum = 0;
  for (int c = 0; c < chunks; ++c) sum += parts[static_cast<int64_t>(c) * dim + j];
  sums[j] = sum;
}

__global__ void __launch_bounds__(kFlatThreads) rescale(float* sums, const float* own_top, const float* top, int dim) {
  const int j = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (j < dim) sums[j] *= expf(own_top[j] - top[j]);
}
__global__ void __launch_bounds__(kFlatThreads) first_centre(float* centre, const float* top, const float* sums, float temp, int dim) {
  const int j = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (j < dim) centre[j] = sums[j] == 0 ? 0 : (top[j] + logf(sums[j])) * temp;
}
__global__ void __launch_bounds__(kFlatThreads) next_centre(float* centre, const float* sums, float temp, int dim) {
  const int j = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (j < dim && sums[j] != 0) centre[j] += temp * logf(sums[j]);
}

template <class T>
dim3 column_grid(const ColumnPass& pass) {
  return {blocks_for(pass.dim / kVector<T>, kColumnThreads), static_cast<unsigned>(Chunks(pass.rows).count)};
}

template <class T>
cudaError_t log_sum_exp(const ColumnPass& pass, double temp, float* top, cudaStream_t stream) {
  const Chunks chunks(pass.rows);
  const int dim = static_cast<int>(pass.dim);
  float *const tops = pass.scratch, *const parts = tops + chunks.count * pass.dim;
  DINOXX_LAUNCH(log_sum_exp_chunks<T>, column_grid<T>(pass), kColumnThreads, stream)
  (static_cast<const T*>(pass.logits), pass.rows, chunks.size, dim, scale_of(temp), tops, parts);
  if (const cudaError_t code = cudaGetLastError(); code != cudaSuccess) return code;
  DINOXX_LAUNCH(add_log_sum_exp, blocks_for(dim, kFlatThreads), kFlatThreads, stream)
  (tops, parts, static_cast<int>(chunks.count), dim, scale_of(temp), static_cast<float>(1 / temp), top, pass.sums);
  return cudaGetLastError();
}

cudaError_t add_chunks(const ColumnPass& pass, const float* parts, cudaStream_t stream) {
  const int dim = static_cast<int>(pass.dim);
  DINOXX_LAUNCH(add_sums, blocks_for(dim, kFlatThreads), kFlatThreads, stream)
  (parts, static_cast<int>(Chunks(pass.rows).count), dim, pass.sums);
  return cudaGetLastError();
}

template <class T>
cudaError_t softmax_sums(const ColumnPass& pass, const float* centre, double temp, uint8_t* is_top, cudaStream_t stream) {
  const int dim = static_cast<int>(pass.dim);
  auto* const statistics = reinterpret_cast<RowStatistics*>(pass.scratch);
  float* const parts = pass.scratch + kRowFloats * pass.rows;
  const Rows<T> rows{static_cast<const T*>(pass.logits), centre, pass.rows, scale_of(temp), statistics}, none{};
  const auto blocks = static_cast<unsigned>(pass.rows);
  const int threads = threads_for<T>(dim, kRowThreads);
  if (is_top)
    DINOXX_LAUNCH_TOGETHER((statistics_of_rows<T, true>), blocks, threads, stream)(rows, none, dim, is_top);
  else
    DINOXX_LAUNCH_TOGETHER((statistics_of_rows<T, false>), blocks, threads, stream)(rows, none, dim, nullptr);
  if (const cudaError_t code = cudaGetLastError(); code != cudaSuccess) return code;
  DINOXX_LAUNCH((sums_of_chunks<T, true>), column_grid<T>(pass), kColumnThreads, stream)
  (rows.logits, centre, statistics, nullptr, pass.rows, Chunks(pass.rows).size, dim, rows.scale, parts);
  if (const cudaError_t code = cudaGetLastError(); code != cudaSuccess) return code;
  return add_chunks(pass, parts, stream);
}

template <class T>
cudaError_t weighted_sums(const ColumnPass& pass, const float* row_weight, cudaStream_t stream) {
  const auto* const logits = static_cast<const T*>(pass.logits);
  DINOXX_LAUNCH((sums_of_chunks<T, false>), column_grid<T>(pass), kColumnThreads, stream)
  (logits, nullptr, nullptr, row_weight, pass.rows, Chunks(pass.rows).size, static_cast<int>(pass.dim), 0.0f, pass.scratch);
  if (const cudaError_t code = cudaGetLastError(); code != cudaSuccess) return code;
  return add_chunks(pass, pass.scratch, stream);
}

}  // namespace

int64_t columns_scratch(const ColumnPass& pass) {
  return kRowFloats * pass.rows + 2 * Chunks(pass.rows).count * pass.dim;
}
cudaError_t launch_log_sum_exp(const ColumnPass& pass, double temp, float* top, cudaStream_t stream) {
  return pass.type == Storage::kFloat ? log_sum_exp<float>(pass, temp, top, stream) : log_sum_exp<Bf16>(pass, temp, top, stream);
}
cudaError_t launch_softmax_sums(const ColumnPass& pass, const float* centre, double temp, uint8_t* is_top, cudaStream_t stream) {
  return pass.type == Storage::kFloat ? softmax_sums<float>(pass, centre, temp, is_top, stream)
                                      : softmax_sums<Bf16>(pass, centre, temp, is_top, stream);
}
cudaError_t launch_weighted_sums(const ColumnPass& pass, const float* row_weight, cudaStream_t stream) {
  return pass.type == Storage::kFloat ? weighted_sums<float>(pass, row_weight, stream) : weighted_sums<Bf16>(pass, row_weight, stream);
}

cudaError_t launch_rescale(float* sums, const float* own_top, const float* top, int64_t dim, cudaStream_t stream) {
  DINOXX_LAUNCH(rescale, blocks_for(dim, kFlatThreads), kFlatThreads, stream)(sums, own_top, top, static_cast<int>(dim));
  return cudaGetLastError();
}
cudaError_t launch_first_centre(float* centre, const float* top, const float* sums, double temp, int64_t dim, cudaStream_t stream) {
  DINOXX_LAUNCH(first_centre, blocks_for(dim, kFlatThreads), kFlatThreads, stream)
  (centre, top, sums, static_cast<float>(temp), static_cast<int>(dim));
  return cudaGetLastError();
}
cudaError_t launch_next_centre(float* centre, const float* sums, double temp, int64_t dim, cudaStream_t stream) {
  DINOXX_LAUNCH(next_centre, blocks_for(dim, kFlatThreads), kFlatThreads, stream)
  (centre, sums, static_cast<float>(temp), static_cast<int>(dim));
  return cudaGetLastError();
}

}  // namespace dinoxx::loss_cuda
