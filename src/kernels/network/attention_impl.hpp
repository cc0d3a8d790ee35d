// Softmax attention for few tokens (5 to a few hundred): one (sample, head) at a time in float buffers that stay in the first- or
// second-level cache. The matrix of probabilities is recomputed in the backward pass instead of being stored.
#pragma once
#include "network_kernels.hpp"
#include "simd.hpp"

namespace dinoxx::ops {
namespace DINOXX_ISA {

inline int64_t round_up(int64_t n) {
  return (n + kLanes - 1) / kLanes * kLanes;
}

/// C[m, n] = sum_k A[m * a_row + k * a_k] B[k, n], n a multiple of kLanes, ldb = ldc = n. Blocks of 4 rows and up to 4 registers.
template <int kRows, int kRegs>
inline void small_gemm_block(int64_t k, const float* a, int64_t a_row, int64_t a_k, const float* b, float* c, int64_t n) {
  vf acc[kRows][kRegs] = {};
  for (int64_t p = 0; p < k; ++p) {
    vf bv[kRegs];
#pragma GCC unroll 4
    for (int j = 0; j < kRegs; ++j) bv[j] = load(b + p * n + j * kLanes);
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      const vf av = splat(a[i * a_row + p * a_k]);
#pragma GCC unroll 4
      for (int j = 0; j < kRegs; ++j) acc[i][j] += av * bv[j];
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kRegs; ++j) store(c + i * n + j * kLanes, acc[i][j]);
  }
}
template <int kRegs>
inline void small_gemm_rows(int64_t m, int64_t k, const float* a, int64_t a_row, int64_t a_k, const float* b, float* c, int64_t n) {
  int64_t i = 0;
  for (; i + 4 <= m; i += 4) small_gemm_block<4, kRegs>(k, a + i * a_row, a_row, a_k, b, c + i * n, n);
  for (; i < m; ++i) small_gemm_block<1, kRegs>(k, a + i * a_row, a_row, a_k, b, c + i * n, n);
}
inline void small_gemm(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row, int64_t a_k, const float* b, float* c) {
  int64_t j = 0;
  for (; j + 4 * kLanes <= n; j += 4 * kLanes) small_gemm_rows<4>(m, k, a, a_row, a_k, b + j, c + j, n);
  if (j + 2 * kLanes <= n) {
    small_gemm_rows<2>(m, k, a, a_row, a_k, b + j, c + j, n);
    j += 2 * kLanes;
  }
  if (j < n) small_gemm_rows<1>(m, k, a, a_row, a_k, b + j, c + j, n);
}

/// rows [n, head_dim] of stride `stride` -> float [n, padded], zeros behind head_dim.
template <class T>
inline void gather(const T* from, int64_t stride, int64_t n, int64_t head_dim, int64_t padded, float scale, float* to) {
  for (int64_t i = 0; i < n; ++i)
    for (int64_t d = 0; d < padded; d += kLanes)
      store(to + i * padded + d, head_dim > d ? load(from + i * stride + d, head_dim - d) * scale : vf{});
}
/// [n, columns] -> [columns, n_padded] with zeros behind n; columns and n_padded are multiples of kLanes.
inline void transpose(const float* from, int64_t n, int64_t columns, int64_t n_padded, float* to) {
  for (int64_t i0 = 0; i0 < n_padded; i0 += kLanes)
    for (int64_t d = 0; d < columns; d += kLanes) {
      vf r[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) r[i] = i0 + i < n ? load(from + (i0 + i) * columns + d) : vf{};
      transpose_square(r);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) store(to + (d + i) * n_padded + i0, r[i]);
    }
}
/// Softmax of each row over the first n of `padded` columns; zeros behind.
inline void softmax_rows(float* s, int64_t rows, int64_t n, int64_t padded) {
  for (int64_t i = 0; i < rows; ++i) {
    float* row = s + i * padded;
    vf top = splat(-3.0e38f);
    for (int64_t j = 0; j < padded; j += kLanes) {
      vf v = load(row + j);
      if (j + kLanes > n) v = (lane_index() < static_cast<int32_t>(n - j)) ? v : splat(-3.0e38f);
      top = vmax(top, v);
    }
    const float max = maximum(top);
    vf total{};
    for (int64_t j = 0; j < padded; j += kLanes) {
      vf v = exp(load(row + j) - max);
      if (j + kLanes > n) v = (lane_index() < static_cast<int32_t>(n - j)) ? v : vf{};
      store(row + j, v);
      total += v;
    }
    const float scale = 1.0f / sum(total);
    for (int64_t j = 0; j < padded; j += kLanes) store(row + j, load(row + j) * scale);
  }
}

/// Floats: 6 matrices [tokens, head_dim] and their transposes, 2 matrices [tokens, tokens].
inline int64_t attention_workspace(int64_t tokens, int64_t head_dim) {
  const int64_t np = round_up(tokens), hp = round_up(head_dim);
  return 8 * np * hp + 2 * np * np;
}

template <class T>
void attention(const Attention& a, int64_t begin, int64_t end, float* workspace) {
  const int64_t n = a.tokens, h = a.head_dim, np = round_up(n), hp = round_up(h), dim = a.heads * h;
  float *q = workspace, *k = q + np * hp, *v = k + np * hp, *kt = v + np * hp, *o = kt + np * hp, *p = o + np * hp;
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(h));
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t b = unit / a.heads, head = unit % a.heads;
    const T* base = static_cast<const T*>(a.qkv) + b * n * 3 * dim + head * h;
    gather(base, 3 * dim, n, h, hp, scale, q);
    gather(base + dim, 3 * dim, n, h, hp, 1.0f, k);
    gather(base + 2 * dim, 3 * dim, n, h, hp, 1.0f, v);
    transpose(k, n, hp, np, kt);
    small_gemm(n, np, h, q, hp, 1, kt, p);
    softmax_rows(p, n, n, np);
    small_gemm(n, hp, n, p, np, 1, v, o);
    T* out = static_cast<T*>(a.out) + b * n * dim + head * h;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t d = 0; d < h; d += kLanes) store(out + i * dim + d, load(o + i * hp + d), h - d);
  }
}

template <class T>
inline void scatter_with_sums(const float* from, int64_t n, int64_t h, int64_t hp, float scale, T* to, int64_t stride, float* sums) {
  for (int64_t d = 0; d < h; d += kLanes) {
    vf total = load(sums + d, h - d);
    for (int64_t i = 0; i < n; ++i) {
      const vf v = load(from + i * hp + d) * scale;
      store(to + i * stride + d, v, h - d);
      total += v;
    }
    store(sums + d, total, h - d);
  }
}

template <class T>
void attention_backward(const AttentionBackward& a, int64_t begin, int64_t end, float* workspace) {
  const int64_t n = a.tokens, h = a.head_dim, np = round_up(n), hp = round_up(h), dim = a.heads * h, size = np * hp;
  float *q = workspace, *k = q + size, *v = k + size, *go = v + size, *t = go + size, *g = t + size, *p = workspace + 8 * size,
        *s = p + np * np;
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(h));
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t chunk = unit / a.heads, head = unit % a.heads, last = (chunk + 1) * kSampleChunk;
    float* sums = a.partial + chunk * 3 * dim + head * h;
    for (int part = 0; part < 3; ++part) memset(sums + part * dim, 0, h * sizeof(float));
    for (int64_t b = chunk * kSampleChunk; b < (last < a.samples ? last : a.samples); ++b) {
      const int64_t at = b * n * 3 * dim + head * h;
      const T* base = static_cast<const T*>(a.qkv) + at;
      T* grad = static_cast<T*>(a.dqkv) + at;
      gather(base, 3 * dim, n, h, hp, scale, q);
      gather(base + dim, 3 * dim, n, h, hp, 1.0f, k);
      gather(base + 2 * dim, 3 * dim, n, h, hp, 1.0f, v);
      gather(static_cast<const T*>(a.dout) + b * n * dim + head * h, dim, n, h, hp, 1.0f, go);
      transpose(k, n, hp, np, t);
      small_gemm(n, np, h, q, hp, 1, t, p);
      softmax_rows(p, n, n, np);
      transpose(v, n, hp, np, t);
      small_gemm(n, np, h, go, hp, 1, t, s);  // dP
      small_gemm(n, hp, n, p, 1, np, go, g);  // dV = P^T dO
      scatter_with_sums(g, n, h, hp, 1.0f, grad + 2 * dim, 3 * dim, sums + 2 * dim);
      for (int64_t i = 0; i < n; ++i) {  // dS = P (dP - sum_j P dP)
        vf total{};
        for (int64_t j = 0; j < np; j += kLanes) total += load(p + i * np + j) * load(s + i * np + j);
        const float mean = sum(total);
        for (int64_t j = 0; j < np; j += kLanes) store(s + i * np + j, load(p + i * np + j) * (load(s + i * np + j) - mean));
      }
      small_gemm(n, hp, n, s, np, 1, k, g);  // dQ = scale dS K
      scatter_with_sums(g, n, h, hp, scale, grad, 3 * dim, sums);
      small_gemm(n, hp, n, s, 1, np, q, g);  // dK = dS^T (scale Q)
      scatter_with_sums(g, n, h, hp, 1.0f, grad + dim, 3 * dim, sums + dim);
    }
  }
}

}  // namespace DINOXX_ISA
}  // namespace dinoxx::ops
