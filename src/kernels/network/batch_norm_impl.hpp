// The kernels of batch normalisation of network_kernels.hpp, for element type float or Bf16. Rows are images and positions, columns are
// channels. A chunk of rows is walked column block by column block, so that sums and factors of a block stay in registers.
#pragma once
#include "network_kernels.hpp"
#include "simd.hpp"

namespace dinoxx::ops {
namespace DINOXX_ISA {

/// f(first, last, column, columns) for each chunk of rows and block of at most kLanes columns.
template <class F>
inline void for_column_blocks(int64_t begin, int64_t end, int64_t dim, const F& f) {
  for (int64_t chunk = begin; chunk < end; chunk += kRowChunk) {
    const int64_t last = chunk + kRowChunk < end ? chunk + kRowChunk : end;
    for (int64_t j = 0; j < dim; j += kLanes) f(chunk, last, j, dim - j);
  }
}

template <class T>
void column_moments(const ColumnMoments& a, int64_t begin, int64_t end) {
  const int64_t d = a.dim;
  for_column_blocks(begin, end, d, [&](int64_t first, int64_t last, int64_t j, int64_t n) {
    const T* x = static_cast<const T*>(a.x) + j;
    vf s0{}, s1{};
    int64_t r = first;
    for (; r + 2 <= last; r += 2) {
      s0 += load(x + r * d, n);
      s1 += load(x + (r + 1) * d, n);
    }
    if (r < last) s0 += load(x + r * d, n);
    const vf mean = (s0 + s1) / static_cast<float>(last - first);
    // second pass, in cache: sum of squares minus square of the mean cancels
    vf q0{}, q1{};
    for (r = first; r + 2 <= last; r += 2) {
      const vf u = load(x + r * d, n) - mean, v = load(x + (r + 1) * d, n) - mean;
      q0 += u * u;
      q1 += v * v;
    }
    if (r < last) {
      const vf u = load(x + r * d, n) - mean;
      q0 += u * u;
    }
    float* partial = a.partial + first / kRowChunk * 2 * d + j;
    store(partial, mean, n);
    store(partial + d, q0 + q1, n);
  });
}

template <class T>
void column_map(const ColumnMap& a, int64_t begin, int64_t end) {
  const int64_t d = a.dim;
  for_column_blocks(begin, end, d, [&](int64_t first, int64_t last, int64_t j, int64_t n) {
    const T* x = static_cast<const T*>(a.x) + j;
    const T* residual = a.residual ? static_cast<const T*>(a.residual) + j : nullptr;
    T* y = static_cast<T*>(a.y) + j;
    const vf mean = load(a.mean + j, n), scale = load(a.scale + j, n), shift = load(a.shift + j, n);
    for (int64_t r = first; r < last; ++r) {
      vf v = (load(x + r * d, n) - mean) * scale + shift;
      if (residual) v += load(residual + r * d, n);
      if (a.relu) v = select(v < 0.0f, vf{}, v);  // in this form a NaN passes
      store(y + r * d, v, n);
    }
  });
}

/// Gradient behind the rectifier, whose output is y.
template <class T>
inline vf rectified(const T* dy, const T* y, int64_t n) {
  const vf g = load(dy, n);
  return y ? select(load(y, n) <= 0.0f, vf{}, g) : g;
}

template <class T>
void column_gradient_sums(const ColumnGradient& a, int64_t begin, int64_t end) {
  const int64_t d = a.dim;
  for_column_blocks(begin, end, d, [&](int64_t first, int64_t last, int64_t j, int64_t n) {
    const T *x = static_cast<const T*>(a.x) + j, *dy = static_cast<const T*>(a.dy) + j;
    const T* y = a.y ? static_cast<const T*>(a.y) + j : nullptr;
    const vf mean = load(a.mean + j, n);
    vf sum{}, product{};
    for (int64_t r = first; r < last; ++r) {
      const vf g = rectified(dy + r * d, y ? y + r * d : nullptr, n);
      sum += g;
      product += g * (load(x + r * d, n) - mean);
    }
    float* partial = a.partial + first / kRowChunk * 2 * d + j;
    store(partial, sum, n);
    store(partial + d, product, n);
  });
}

template <class T>
void column_gradient(const ColumnGradient& a, int64_t begin, int64_t end) {
  const int64_t d = a.dim;
  for_column_blocks(begin, end, d, [&](int64_t first, int64_t last, int64_t j, int64_t n) {
    const T *x = static_cast<const T*>(a.x) + j, *dy = static_cast<const T*>(a.dy) + j;
    const T* y = a.y ? static_cast<const T*>(a.y) + j : nullptr;
    T* dx = static_cast<T*>(a.dx) + j;
    T* residual = a.dresidual ? static_cast<T*>(a.dresidual) + j : nullptr;
    const vf mean = load(a.mean + j, n), of_g = load(a.of_g + j, n), of_x = load(a.of_x + j, n), of_1 = load(a.of_1 + j, n);
    for (int64_t r = first; r < last; ++r) {
      const vf g = rectified(dy + r * d, y ? y + r * d : nullptr, n);
      store(dx + r * d, of_g * g + of_x * (load(x + r * d, n) - mean) + of_1, n);
      if (residual) store(residual + r * d, g, n);
    }
  });
}

}  // namespace DINOXX_ISA
}  // namespace dinoxx::ops
