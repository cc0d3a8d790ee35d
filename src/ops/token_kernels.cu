#include "token_kernels.hpp"

#include "kernels/cuda_device.hpp"

namespace dinoxx::ops::cuda {
namespace {

using namespace dinoxx::cuda;

// For a GPU of 132 multiprocessors; others do as well with a few blocks more or less.
constexpr int kWarpsInFlight = 132 * 16;
constexpr int kMaxThreads = 256;
static_assert(kMaxDim <= 2 * kMaxThreads * kVector<Bf16> && kMaxDim <= 4 * kMaxThreads * kVector<float>, "vectors a thread");

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

template <class T>
__global__ void gelu(const T* u, T* y, int64_t vectors) {
  constexpr int V = kVector<T>;
  for (int64_t k = first_item(); k < vectors; k += all_threads()) {
    float v[V];
    load_vector(u + k * V, v);
#pragma unroll
    for (int j = 0; j < V; ++j) v[j] = gelu_of(v[j]);
    store_vector(y + k * V, v);
  }
}

template <class T>
__global__ void swiglu(const T* x, T* y, int64_t rows, int hidden) {
  constexpr int V = kVector<T>;
  const int vectors = hidden / V;
  for (int64_t item = first_item(); item < rows * vectors; item += all_threads()) {
    const int64_t row = item / vectors;
    const int column = static_cast<int>(item - row * vectors) * V;
    float gate[V], value[V];
    load_vector(x + row * 2 * hidden + column, gate);
    load_vector(x + row * 2 * hidden + hidden + column, value);
#pragma unroll
    for (int j = 0; j < V; ++j) value[j] *= rounded<T>(gate[j] * sigmoid(gate[j]));
    store_vector(y + row * hidden + column, value);
  }
}

// Elements that a pass over tiles of columns makes: at(row, column, v) gives the vector that begins there.
template <class T>
struct GeluGrad {
  const T *dy, *u;
  T* du;
  int columns;
  __device__ __forceinline__ void at(int64_t row, int column, float (&v)[kVector<T>]) const {
    float x[kVector<T>];
    load_vector(dy + row * columns + column, v);
    load_vector(u + row * columns + column, x);
#pragma unroll
    for (int j = 0; j < kVector<T>; ++j) v[j] *= gelu_slope(x[j]);
    store_vector(du + row * columns + column, v);
  }
};

template <class T>
struct SwigluGrad {
  const T *dy, *x;
  T* dx;
  int hidden;
  __device__ __forceinline__ void at(int64_t row, int column, float (&v)[kVector<T>]) const {
    const bool of_gate = column < hidden;
    const int c = of_gate ? column : column - hidden;
    float gate[kVector<T>], value[kVector<T>];
    load_vector(dy + row * hidden + c, v);
    load_vector(x + row * 2 * hidden + c, gate);
    load_vector(x + row * 2 * hidden + hidden + c, value);
#pragma unroll
    for (int j = 0; j < kVector<T>; ++j) {
      const float s = sigmoid(gate[j]);
      v[j] *= of_gate ? value[j] * s * (1.0f + gate[j] * (1.0f - s)) : gate[j] * s;
    }
    store_vector(dx + row * 2 * hidden + column, v);
  }
};

template <class T>
struct QkvGradOf {
  QkvGrad work;
  __device__ __forceinline__ void at(int64_t row, int column, float (&v)[kVector<T>]) const {
    constexpr int V = kVector<T>;
    const Rotary& r = work.rotary;
    const int dim = r.heads * r.head_dim, part = column / dim, head = (column - part * dim) / r.head_dim;
    const int j0 = column - part * dim - head * r.head_dim, half = r.head_dim / 2;
    const Place place = place_of(work.rows, row);
    const int64_t* stride = work.stride[place.group][part];
    const T* grad = static_cast<const T*>(work.grad[place.group][part]);
    if (!grad) {
#pragma unroll
      for (int j = 0; j < V; ++j) v[j] = 0;
    } else {
      grad += (place.sample - work.rows.first_sample[place.group]) * stride[0] + head * stride[1] + place.token * stride[2];
      load_vector(grad + j0, v);
      if (part < 2 && r.cos[place.group] && place.token >= r.prefix) {
        const bool first = j0 < half;
        const int64_t at = static_cast<int64_t>(place.token - r.prefix) * half + (first ? j0 : j0 - half);
        float other[V];
        load_vector(grad + (first ? j0 + half : j0 - half), other);
#pragma unroll
        for (int j = 0; j < V; ++j) {
          const float c = r.cos[place.group][at + j], s = r.sin[place.group][at + j];
          v[j] = first ? v[j] * c + other[j] * s : v[j] * c - other[j] * s;
        }
      }
    }
    store_vector(static_cast<T*>(work.dqkv) + row * 3 * dim + column, v);
  }
};

constexpr int kTileWarps = 8;

// grid: [tiles of columns, chunks of rows]
template <class T, class Elements>
__global__ void over_columns(const __grid_constant__ Elements elements, float* partial, int64_t rows, int columns) {
  constexpr int V = kVector<T>, kTile = kWarpSize * V;
  __shared__ float shared[kTileWarps][kTile];
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int column = static_cast<int>(blockIdx.x) * kTile + lane * V;
  const int64_t chunk = (rows + gridDim.y - 1) / gridDim.y, begin = blockIdx.y * chunk, end = begin + chunk < rows ? begin + chunk : rows;
  float sum[V] = {};
  if (column < columns) {
    for (int64_t row = begin + warp; row < end; row += kTileWarps) {
      float v[V];
      elements.at(row, column, v);
#pragma unroll
      for (int j = 0; j < V; ++j) sum[j] += v[j];
    }
  }
#pragma unroll
  for (int j = 0; j < V; ++j) shared[warp][lane * V + j] = sum[j];
  __syncthreads();
  for (int c = static_cast<int>(threadIdx.x); c < kTile; c += static_cast<int>(blockDim.x)) {
    const int at = static_cast<int>(blockIdx.x) * kTile + c;
    if (at >= columns) continue;
    float total = 0;
    for (int w = 0; w < kTileWarps; ++w) total += shared[w][c];
    partial[static_cast<int64_t>(blockIdx.y) * columns + at] = total;
  }
}

template <class T>
__global__ void rotate(T* qkv, const __grid_constant__ RowGroups groups, const __grid_constant__ Rotary rotary, int64_t rows) {
  constexpr int V = kVector<T>;
  const int half = rotary.head_dim / 2, dim = rotary.heads * rotary.head_dim, in_half = half / V, in_row = dim / V;  // of queries and keys
  for (int64_t item = first_item(); item < rows * in_row; item += all_threads()) {
    const int64_t row = item / in_row;
    const Place place = place_of(groups, row);
    const float *const cos = rotary.cos[place.group], *const sin = rotary.sin[place.group];
    if (!cos || place.token < rotary.prefix) continue;
    const int k = static_cast<int>(item - row * in_row), head = k / in_half, j0 = (k - head * in_half) * V;  // queries' heads, then keys'
    T* const first = qkv + row * 3 * dim + head * rotary.head_dim + j0;
    const int64_t at = static_cast<int64_t>(place.token - rotary.prefix) * half + j0;
    float a[V], b[V];
    load_vector(first, a);
    load_vector(first + half, b);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float c = cos[at + j], s = sin[at + j], x = a[j], y = b[j];
      a[j] = x * c - y * s;
      b[j] = y * c + x * s;
    }
    store_vector(first, a);
    store_vector(first + half, b);
  }
}

__global__ void rotary_tables(const double* centres, const double* frequency, float* cos_out, float* sin_out, int64_t items, int rows,
                              int columns, int quarter) {
  for (int64_t item = first_item(); item < items; item += all_threads()) {
    const int i = static_cast<int>(item % (2 * quarter));
    const int64_t patch = item / (2 * quarter), set = patch / (rows * columns);
    const int place = static_cast<int>(patch - set * rows * columns);
    const double* const of_set = centres + set * (rows + columns);
    const double centre = i < quarter ? of_set[place / columns] : of_set[rows + place % columns];
    const double angle = centre * frequency[i < quarter ? i : i - quarter];
    cos_out[item] = static_cast<float>(cos(angle));
    sin_out[item] = static_cast<float>(sin(angle));
  }
}

struct TotalsList {
  Totals of[kMaxTotals];
  int first_tile[kMaxTotals + 1];
  int count;
};
constexpr int kTotalLanes = 8;  // threads that share a column

template <class T>
__global__ void column_totals(const __grid_constant__ TotalsList list) {
  __shared__ float shared[kTotalLanes][kWarpSize];
  int i = 0;
  while (static_cast<int>(blockIdx.x) >= list.first_tile[i + 1]) ++i;
  const Totals& work = list.of[i];
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, part = static_cast<int>(threadIdx.x) / kWarpSize;
  const int column = (static_cast<int>(blockIdx.x) - list.first_tile[i]) * kWarpSize + lane;
  float sum = 0;
  if (column < work.n)
    for (int row = part; row < work.count; row += kTotalLanes) sum += work.partial[row * work.stride + column];
  shared[part][lane] = sum;
  __syncthreads();
  if (part > 0 || column >= work.n) return;
  for (int p = 1; p < kTotalLanes; ++p) sum += shared[p][lane];
  store(static_cast<T*>(work.out) + column, sum);
}

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

// ---------------------------------------------------------------- launches

int64_t all_rows(const RowGroups& rows) {
  return rows.first_row[rows.count];
}
template <class T>
int row_threads(int dim) {
  const int vectors = dim / kVector<T>, threads = (vectors + kWarpSize - 1) / kWarpSize * kWarpSize;
  return threads < kMaxThreads ? threads : kMaxThreads;
}
int blocks_for(int64_t items, int64_t limit) {
  return static_cast<int>(items < 1 ? 1 : items < limit ? items : limit);
}
int item_blocks(int64_t items) {
  return blocks_for((items + kMaxThreads - 1) / kMaxThreads, 1 << 16);
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

template <class T, class Elements>
cudaError_t start_over_columns(const Elements& elements, float* partial, int64_t rows, int columns, cudaStream_t stream) {
  const int tiles = (columns + kWarpSize * kVector<T> - 1) / (kWarpSize * kVector<T>);
  const dim3 grid(tiles, column_chunks(rows, columns, sizeof(T) == 2));
  DINOXX_LAUNCH_TOGETHER((over_columns<T, Elements>), grid, kTileWarps * kWarpSize, stream)(elements, partial, rows, columns);
  return cudaGetLastError();
}

template <class T>
int fold_blocks(const T& work, bool with_bias) {
  return work.part[0].rows + work.part[1].rows + (with_bias ? 1 : 0);
}
constexpr int kFoldThreads = 128;

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

cudaError_t launch_gelu(bool bf16, const void* u, void* y, int64_t n, cudaStream_t stream) {
  const int64_t vectors = n / (bf16 ? kVector<Bf16> : kVector<float>);
  if (vectors == 0) return cudaSuccess;
  if (bf16)
    DINOXX_LAUNCH(gelu<Bf16>, item_blocks(vectors), kMaxThreads, stream)(static_cast<const Bf16*>(u), static_cast<Bf16*>(y), vectors);
  else
    DINOXX_LAUNCH(gelu<float>, item_blocks(vectors), kMaxThreads, stream)(static_cast<const float*>(u), static_cast<float*>(y), vectors);
  return cudaGetLastError();
}

cudaError_t launch_swiglu(bool bf16, const void* x, void* y, int64_t rows, int hidden, cudaStream_t stream) {
  const int64_t vectors = rows * (hidden / (bf16 ? kVector<Bf16> : kVector<float>));
  if (vectors == 0) return cudaSuccess;
  if (bf16)
    DINOXX_LAUNCH(swiglu<Bf16>, item_blocks(vectors), kMaxThreads, stream)
    (static_cast<const Bf16*>(x), static_cast<Bf16*>(y), rows, hidden);
  else
    DINOXX_LAUNCH(swiglu<float>, item_blocks(vectors), kMaxThreads, stream)
    (static_cast<const float*>(x), static_cast<float*>(y), rows, hidden);
  return cudaGetLastError();
}

int column_chunks(int64_t rows, int columns, bool bf16) {
  const int tile = kWarpSize * (bf16 ? kVector<Bf16> : kVector<float>), tiles = (columns + tile - 1) / tile;
  const int64_t wanted = (kWarpsInFlight / kTileWarps * 4 + tiles - 1) / tiles, useful = (rows + 4 * kTileWarps - 1) / (4 * kTileWarps);
  return blocks_for(wanted < useful ? wanted : useful, 65535);
}

cudaError_t launch_gelu_backward(bool bf16, const void* dy, const void* u, void* du, float* partial, int64_t rows, int columns,
                                 cudaStream_t stream) {
  if (bf16)
    return start_over_columns<Bf16>(
        GeluGrad<Bf16>{static_cast<const Bf16*>(dy), static_cast<const Bf16*>(u), static_cast<Bf16*>(du), columns}, partial, rows, columns,
        stream);
  return start_over_columns<float>(
      GeluGrad<float>{static_cast<const float*>(dy), static_cast<const float*>(u), static_cast<float*>(du), columns}, partial, rows,
      columns, stream);
}

cudaError_t launch_swiglu_backward(bool bf16, const void* dy, const void* x, void* dx, float* partial, int64_t rows, int hidden,
                                   cudaStream_t stream) {
  if (bf16)
    return start_over_columns<Bf16>(
        SwigluGrad<Bf16>{static_cast<const Bf16*>(dy), static_cast<const Bf16*>(x), static_cast<Bf16*>(dx), hidden}, partial, rows,
        2 * hidden, stream);
  return start_over_columns<float>(
      SwigluGrad<float>{static_cast<const float*>(dy), static_cast<const float*>(x), static_cast<float*>(dx), hidden}, partial, rows,
      2 * hidden, stream);
}

cudaError_t launch_rotate(bool bf16, void* qkv, const RowGroups& rows, const Rotary& rotary, cudaStream_t stream) {
  const int64_t count = all_rows(rows), items = count * (rotary.heads * rotary.head_dim / (bf16 ? kVector<Bf16> : kVector<float>));
  if (items == 0) return cudaSuccess;
  if (bf16)
    DINOXX_LAUNCH(rotate<Bf16>, item_blocks(items), kMaxThreads, stream)(static_cast<Bf16*>(qkv), rows, rotary, count);
  else
    DINOXX_LAUNCH(rotate<float>, item_blocks(items), kMaxThreads, stream)(static_cast<float*>(qkv), rows, rotary, count);
  return cudaGetLastError();
}

cudaError_t launch_qkv_grad(const QkvGrad& work, cudaStream_t stream) {
  const int columns = 3 * work.rotary.heads * work.rotary.head_dim;
  if (work.bf16) return start_over_columns<Bf16>(QkvGradOf<Bf16>{work}, work.partial, all_rows(work.rows), columns, stream);
  return start_over_columns<float>(QkvGradOf<float>{work}, work.partial, all_rows(work.rows), columns, stream);
}

cudaError_t launch_rotary_tables(const double* centres, const double* frequency, float* cos, float* sin, int sets, int rows, int columns,
                                 int quarter, cudaStream_t stream) {
  const int64_t items = static_cast<int64_t>(sets) * rows * columns * 2 * quarter;
  if (items == 0) return cudaSuccess;
  DINOXX_LAUNCH(rotary_tables, item_blocks(items), kMaxThreads, stream)(centres, frequency, cos, sin, items, rows, columns, quarter);
  return cudaGetLastError();
}

cudaError_t launch_column_totals(bool bf16, const Totals* totals, int count, cudaStream_t stream) {
  TotalsList list = {};
  list.count = count;
  for (int i = 0; i < count; ++i) {
    list.of[i] = totals[i];
    list.first_tile[i + 1] = list.first_tile[i] + (totals[i].n + kWarpSize - 1) / kWarpSize;
  }
  const int tiles = list.first_tile[count];
  if (tiles == 0) return cudaSuccess;
  if (bf16)
    DINOXX_LAUNCH_TOGETHER(column_totals<Bf16>, tiles, kTotalLanes * kWarpSize, stream)(list);
  else
    DINOXX_LAUNCH_TOGETHER(column_totals<float>, tiles, kTotalLanes * kWarpSize, stream)(list);
  return cudaGetLastError();
}

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
