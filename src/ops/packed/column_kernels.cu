#include "token_device.hpp"

namespace dinoxx::ops::cuda {
namespace {

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

template <class T, class Elements>
cudaError_t start_over_columns(const Elements& elements, float* partial, int64_t rows, int columns, cudaStream_t stream) {
  const int tiles = (columns + kWarpSize * kVector<T> - 1) / (kWarpSize * kVector<T>);
  const dim3 grid(tiles, column_chunks(rows, columns, sizeof(T) == 2));
  DINOXX_LAUNCH_TOGETHER((over_columns<T, Elements>), grid, kTileWarps * kWarpSize, stream)(elements, partial, rows, columns);
  return cudaGetLastError();
}

}  // namespace

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

cudaError_t launch_qkv_grad(const QkvGrad& work, cudaStream_t stream) {
  const int columns = 3 * work.rotary.heads * work.rotary.head_dim;
  if (work.bf16) return start_over_columns<Bf16>(QkvGradOf<Bf16>{work}, work.partial, all_rows(work.rows), columns, stream);
  return start_over_columns<float>(QkvGradOf<float>{work}, work.partial, all_rows(work.rows), columns, stream);
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

}  // namespace dinoxx::ops::cuda
