// The kernels of network_kernels.hpp, for element type float or Bf16. See simd.hpp for how this is compiled.
#pragma once
#include "attention_impl.hpp"
#include "batch_norm_impl.hpp"
#include "network_kernels.hpp"
#include "simd.hpp"

namespace dinoxx::ops {
namespace DINOXX_ISA {

template <class T>
void layer_norm(const LayerNormForward& a, int64_t begin, int64_t end) {
  const int64_t d = a.dim;
  for (int64_t r = begin; r < end; ++r) {
    const T* x = static_cast<const T*>(a.x) + r * d;
    T* y = static_cast<T*>(a.y) + r * d;
    vf s0{}, s1{};
    int64_t j = 0;
    for (; j + 2 * kLanes <= d; j += 2 * kLanes) {
      s0 += load(x + j);
      s1 += load(x + j + kLanes);
    }
    for (; j < d; j += kLanes) s0 += load(x + j, d - j);
    const float mean = sum(s0 + s1) / d;
    // second pass for the variance: sum of squares minus square of the mean cancels
    vf q0{}, q1{};
    for (j = 0; j + 2 * kLanes <= d; j += 2 * kLanes) {
      const vf u = load(x + j) - mean, v = load(x + j + kLanes) - mean;
      q0 += u * u;
      q1 += v * v;
    }
    for (; j < d; j += kLanes) {
      const vf u = (lane_index() < static_cast<int32_t>(d - j)) ? load(x + j, d - j) - mean : vf{};
      q0 += u * u;
    }
    const float rstd = 1.0f / __builtin_sqrtf(sum(q0 + q1) / d + a.eps);
    for (j = 0; j + kLanes <= d; j += kLanes) store(y + j, (load(x + j) - mean) * rstd * load(a.weight + j) + load(a.bias + j));
    if (j < d) store(y + j, (load(x + j, d - j) - mean) * rstd * load(a.weight + j, d - j) + load(a.bias + j, d - j), d - j);
    a.mean[r] = mean;
    a.rstd[r] = rstd;
  }
}

template <class T>
void layer_norm_backward(const LayerNormBackward& a, int64_t begin, int64_t end) {
  const int64_t d = a.dim;
  for (int64_t chunk = begin; chunk < end; chunk += kRowChunk) {
    float* dweight = a.partial + chunk / kRowChunk * 3 * d;
    float* dbias = dweight + d;
    float* sums = dbias + d;
    memset(dweight, 0, 3 * d * sizeof(float));
    const int64_t last = chunk + kRowChunk < end ? chunk + kRowChunk : end;
    for (int64_t r = chunk; r < last; ++r) {
      const T* x = static_cast<const T*>(a.x) + r * d;
      const T* dy = static_cast<const T*>(a.dy) + r * d;
      const T* residual = a.residual ? static_cast<const T*>(a.residual) + r * d : nullptr;
      T* dx = static_cast<T*>(a.dx) + r * d;
      T* scaled = a.scaled ? static_cast<T*>(a.scaled) + r * d : nullptr;
      const float mean = a.mean[r], rstd = a.rstd[r], scale = a.scale ? a.scale[r / a.rows_per_scale] : 1.0f;
      vf sum_g{}, sum_gx{};
      for (int64_t j = 0; j < d; j += kLanes) {
        const int64_t n = d - j;
        const vf g = load(dy + j, n), xhat = (load(x + j, n) - mean) * rstd;
        store(dweight + j, load(dweight + j, n) + g * xhat, n);
        store(dbias + j, load(dbias + j, n) + g, n);
        const vf gw = g * load(a.weight + j, n);  // zero behind the end
        sum_g += gw;
        sum_gx += gw * xhat;
      }
      const float c1 = sum(sum_g) / d, c2 = sum(sum_gx) / d;
      for (int64_t j = 0; j < d; j += kLanes) {
        const int64_t n = d - j;
        const vf xhat = (load(x + j, n) - mean) * rstd;
        vf v = (load(dy + j, n) * load(a.weight + j, n) - c1 - xhat * c2) * rstd;
        if (residual) v += load(residual + j, n);
        store(dx + j, v, n);
        const vf sv = v * scale;
        if (scaled) store(scaled + j, sv, n);
        store(sums + j, load(sums + j, n) + sv, n);
      }
    }
  }
}

template <class T>
void scale_rows(const ScaleRows& a, int64_t begin, int64_t end) {
  const int64_t d = a.dim;
  for (int64_t chunk = begin; chunk < end; chunk += kRowChunk) {
    float* sums = a.partial + chunk / kRowChunk * d;
    memset(sums, 0, d * sizeof(float));
    const int64_t last = chunk + kRowChunk < end ? chunk + kRowChunk : end;
    for (int64_t r = chunk; r < last; ++r) {
      const T* x = static_cast<const T*>(a.x) + r * d;
      T* y = a.y ? static_cast<T*>(a.y) + r * d : nullptr;
      const float scale = a.scale ? a.scale[r / a.rows_per_scale] : 1.0f;
      for (int64_t j = 0; j < d; j += kLanes) {
        const vf v = load(x + j, d - j) * scale;
        if (y) store(y + j, v, d - j);
        store(sums + j, load(sums + j, d - j) + v, d - j);
      }
    }
  }
}

template <class T>
void gelu_forward(const void* x, void* y, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) store(static_cast<T*>(y) + i, gelu(load(static_cast<const T*>(x) + i, n - i)).value, n - i);
}

template <class T>
void gelu_backward(const void* dy, const void* x, void* dx, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const vf d = gelu(load(static_cast<const T*>(x) + i, n - i)).derivative;
    store(static_cast<T*>(dx) + i, load(static_cast<const T*>(dy) + i, n - i) * d, n - i);
  }
}

template <class T, Epilogue kind>
void epilogue_rows(const EpilogueArgs& a, const float* v, int64_t ldv, int64_t begin, int64_t end, int64_t col, int64_t n,
                   float* column_sums) {
  for (int64_t r = begin; r < end; ++r) {
    const float* row = v + (r - begin) * ldv;
    const int64_t at = r * a.ldc + col;
    T* c = static_cast<T*>(a.c) + at;
    T* aux = a.aux ? static_cast<T*>(a.aux) + at : nullptr;
    const float scale = a.scale ? a.scale[r / a.rows_per_scale] : 1.0f;
    for (int64_t j = 0; j < n; j += kLanes) {
      const int64_t left = n - j;
      vf u = load(row + j, left);
      if constexpr (kind != Epilogue::kMultiply) {
        if (a.bias) u += load(a.bias + col + j, left);
      }
      if constexpr (kind == Epilogue::kBias) store(c + j, u, left);
      if constexpr (kind == Epilogue::kGelu) {
        const Gelu g = gelu(u);
        store(c + j, g.value, left);
        if (aux) store(aux + j, g.derivative, left);
      }
      if constexpr (kind == Epilogue::kResidual) store(c + j, load(static_cast<const T*>(a.residual) + at + j, left) + scale * u, left);
      if constexpr (kind == Epilogue::kMultiply) {
        u *= load(aux + j, left);
        store(c + j, u, left);
        store(column_sums + j, load(column_sums + j, left) + u, left);
      }
    }
  }
}

/// Rows [begin, end) and columns [col, col + n) of c; v points at the first of them, column_sums at column col.
template <class T>
inline void epilogue_tile(const EpilogueArgs& a, const float* v, int64_t ldv, int64_t begin, int64_t end, int64_t col, int64_t n,
                          float* column_sums) {
  switch (a.kind) {
    case Epilogue::kBias:
      return epilogue_rows<T, Epilogue::kBias>(a, v, ldv, begin, end, col, n, column_sums);
    case Epilogue::kGelu:
      return epilogue_rows<T, Epilogue::kGelu>(a, v, ldv, begin, end, col, n, column_sums);
    case Epilogue::kResidual:
      return epilogue_rows<T, Epilogue::kResidual>(a, v, ldv, begin, end, col, n, column_sums);
    case Epilogue::kMultiply:
      return epilogue_rows<T, Epilogue::kMultiply>(a, v, ldv, begin, end, col, n, column_sums);
  }
}

template <class T>
void epilogue(const EpilogueArgs& a, const float* v, int64_t ldv, int64_t begin, int64_t end, int64_t n, float* column_sums) {
  epilogue_tile<T>(a, v + begin * ldv, ldv, begin, end, 0, n, column_sums);
}

template <class T>
constexpr KernelSet make_kernel_set(CpuLevel level) {
  return {level,         layer_norm<T>,           layer_norm_backward<T>, scale_rows<T>,   column_moments<T>,
          column_map<T>, column_gradient_sums<T>, column_gradient<T>,     gelu_forward<T>, gelu_backward<T>,
          attention<T>,  attention_backward<T>,   attention_workspace,    epilogue<T>};
}

}  // namespace DINOXX_ISA
}  // namespace dinoxx::ops
