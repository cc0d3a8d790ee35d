#include "token_device.hpp"

namespace dinoxx::ops::cuda {
namespace {

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

}  // namespace

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
  if (bf16) DINOXX_LAUNCH(swiglu<Bf16>, item_blocks(vectors), kMaxThreads, stream)
  (static_cast<const Bf16*>(x), static_cast<Bf16*>(y), rows, hidden);
  else DINOXX_LAUNCH(swiglu<float>, item_blocks(vectors), kMaxThreads, stream)(static_cast<const float*>(x), static_cast<float*>(y), rows,
                                                                               hidden);
  return cudaGetLastError();
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

cudaError_t launch_rotary_tables(const double* centres, const double* frequency, float* cos, float* sin, int sets, int rows, int columns,
                                 int quarter, cudaStream_t stream) {
  const int64_t items = static_cast<int64_t>(sets) * rows * columns * 2 * quarter;
  if (items == 0) return cudaSuccess;
  DINOXX_LAUNCH(rotary_tables, item_blocks(items), kMaxThreads, stream)(centres, frequency, cos, sin, items, rows, columns, quarter);
  return cudaGetLastError();
}

}  // namespace dinoxx::ops::cuda
