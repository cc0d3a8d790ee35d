#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "loss_level.hpp"

/// Vector code that the kernels of the losses share: rows of logits as lanes, the exponential, a softmax row and a cross-entropy row.
namespace dinoxx::loss_kernel {

// Sixteen lanes of GCC's vector extension: one AVX-512 register, two of AVX2, four of SSE2. All helpers are inlined into the entry
// points of the kernels, each of which is compiled for its own instruction set (DINOXX_LOSS_LEVELS).
constexpr int64_t kLanes = 16;
typedef float Vec __attribute__((vector_size(64)));
typedef uint32_t IntVec __attribute__((vector_size(64)));
// Logit of the lanes beyond the row: far below any real one, yet finite after division by any temperature, so that its product with
// probability 0 is 0.
constexpr float kPadding = -1e30f;
#define DINOXX_INLINE [[gnu::always_inline]] inline

DINOXX_INLINE void load(Vec& v, const float* p) {
  std::memcpy(&v, p, sizeof v);
}
DINOXX_INLINE void store(float* p, const Vec& v) {
  std::memcpy(p, &v, sizeof v);
}

/// e^x for x <= 0 to about 2 units in the last place; below -87 a number near 1e-38; NaN stays NaN. Range reduction by ln 2 in two parts,
/// Taylor polynomial of degree 7 on [-ln 2 / 2, ln 2 / 2], scaling through the exponent bits.
DINOXX_INLINE void exp_lanes(Vec& x) {
  constexpr float kLog2e = 1.44269504088896341f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer that sits in the low mantissa bits
  const Vec low = Vec{} - 87.0f, input = x;
  x = x < low ? low : x;
  const Vec shifted = x * kLog2e + kRound;
  const Vec n = shifted - kRound;
  const Vec r = (x - n * kLn2High) - n * kLn2Low;
  Vec p = r * (1.0f / 5040.0f) + (1.0f / 720.0f);
  p = p * r + (1.0f / 120.0f);
  p = p * r + (1.0f / 24.0f);
  p = p * r + (1.0f / 6.0f);
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  IntVec bits, exponent;
  std::memcpy(&bits, &p, sizeof bits);
  std::memcpy(&exponent, &shifted, sizeof exponent);
  bits += exponent << 23;  // the low bits of `shifted` are n; the rest leaves at the top
  std::memcpy(&x, &bits, sizeof x);
  x = input == input ? x : input;  // the integer addition may turn a NaN into a number
}

DINOXX_INLINE float sum_lanes(const Vec& v) {
  float lanes[kLanes];
  std::memcpy(lanes, &v, sizeof v);
  for (int64_t half = kLanes / 2; half > 0; half /= 2)
    for (int64_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}
DINOXX_INLINE float max_lanes(const Vec& v) {
  float lanes[kLanes];
  std::memcpy(lanes, &v, sizeof v);
  return *std::max_element(lanes, lanes + kLanes);
}

/// A row as floats, padded to whole vectors with `fill`. Rows of the right type and length are used where they are.
DINOXX_INLINE const float* row_as_float(const void* base, Storage type, int64_t row, int64_t dim, int64_t padded, float fill,
                                        float* scratch) {
  if (type == Storage::kFloat) {
    const float* p = static_cast<const float*>(base) + row * dim;
    if (dim == padded) return p;
    std::memcpy(scratch, p, static_cast<size_t>(dim) * sizeof(float));
  } else {
    const uint16_t* p = static_cast<const uint16_t*>(base) + row * dim;
    uint32_t* bits = reinterpret_cast<uint32_t*>(scratch);
    for (int64_t i = 0; i < dim; ++i) bits[i] = static_cast<uint32_t>(p[i]) << 16;
  }
  std::fill(scratch + dim, scratch + padded, fill);
  return scratch;
}

/// Writes a row back, bfloat16 rounded to nearest even.
DINOXX_INLINE void write_row(void* base, Storage type, int64_t row, int64_t dim, const float* values) {
  if (type == Storage::kFloat) {
    float* p = static_cast<float*>(base) + row * dim;
    if (p != values) std::memcpy(p, values, static_cast<size_t>(dim) * sizeof(float));
    return;
  }
  uint16_t* p = static_cast<uint16_t*>(base) + row * dim;
  const uint32_t* bits = reinterpret_cast<const uint32_t*>(values);
  for (int64_t i = 0; i < dim; ++i) p[i] = static_cast<uint16_t>((bits[i] + 0x7fffu + ((bits[i] >> 16) & 1u)) >> 16);
}

/// probabilities = softmax((teacher - centre) * inv_temp), padding 0; returns the entropy.
DINOXX_INLINE double teacher_row(const float* logits, const float* centre, int64_t padded, int64_t dim, float inv_temp,
                                 float* probabilities) {
  Vec max = Vec{} - std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < padded; i += kLanes) {
    Vec x, c;
    load(x, logits + i);
    load(c, centre + i);
    x = (x - c) * inv_temp;
    max = x > max ? x : max;
    store(probabilities + i, x);
  }
  const float top = max_lanes(max);
  const Vec low = Vec{} - 87.0f;  // where exp_lanes() ends; a logit of -infinity must not meet its number near 1e-38
  Vec sum{}, weighted{};
  for (int64_t i = 0; i < padded; i += kLanes) {
    Vec t;
    load(t, probabilities + i);
    t -= top;
    Vec e = t;
    exp_lanes(e);
    store(probabilities + i, e);
    if (i + kLanes > dim)  // padding takes no part
      for (int64_t j = dim - i; j < kLanes; ++j) e[j] = t[j] = 0.0f;
    sum += e;
    weighted += e * (t < low ? low : t);
  }
  const float total = sum_lanes(sum), scale = 1.0f / total;
  for (int64_t i = 0; i < padded; i += kLanes) {
    Vec e;
    load(e, probabilities + i);
    store(probabilities + i, e * scale);
  }
  std::fill(probabilities + dim, probabilities + padded, 0.0f);
  return std::log(static_cast<double>(total)) - static_cast<double>(sum_lanes(weighted)) / total;
}

struct StudentRow {
  double cross_entropy = 0, entropy = 0;
};

/// Cross-entropy of one student row against `target`, which sums to `mass`: mass * log-sum-exp - target . s, s = student * inv_temp; and
/// the row's own entropy. With `grad`: grad = coefficient * (mass * softmax(s) - target).
DINOXX_INLINE StudentRow student_row(const float* logits, const float* target, int64_t padded, float mass, float inv_temp,
                                     float coefficient, float* work, bool want_grad) {
  Vec max = Vec{} - std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < padded; i += kLanes) {
    Vec x;
    load(x, logits + i);
    max = x > max ? x : max;
  }
  const float top = max_lanes(max);
  const Vec low = Vec{} - 87.0f;  // below it exp_lanes() is a number near 1e-38, which must not meet a padding lane's logit
  Vec sum{}, dot{}, weighted{};
  for (int64_t i = 0; i < padded; i += kLanes) {
    Vec s, q;
    load(s, logits + i);
    load(q, target + i);
    s = (s - top) * inv_temp;
    dot += q * s;
    Vec e = s;
    exp_lanes(e);
    sum += e;
    weighted += e * (s < low ? low : s);
    if (want_grad) store(work + i, e);
  }
  const float total = sum_lanes(sum);
  if (want_grad) {
    const float scale = coefficient * mass / total;
    for (int64_t i = 0; i < padded; i += kLanes) {
      Vec e, q;
      load(e, work + i);
      load(q, target + i);
      store(work + i, e * scale - q * coefficient);
    }
  }
  const double log_total = std::log(static_cast<double>(total));
  return {mass * log_total - sum_lanes(dot), log_total - static_cast<double>(sum_lanes(weighted)) / total};
}

DINOXX_INLINE int64_t padded_dim(int64_t dim) {
  return (dim + kLanes - 1) / kLanes * kLanes;
}

}  // namespace dinoxx::loss_kernel

/// Defines function(arguments, level) from function_impl(arguments), compiled for each instruction set.
#if defined(__x86_64__)
#define DINOXX_LOSS_LEVELS(function, Arguments)                                                                 \
  [[gnu::target("avx2,fma")]] static void function##_avx2(const Arguments& a) {                                 \
    function##_impl(a);                                                                                         \
  }                                                                                                             \
  [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,fma")]] static void function##_avx512(const Arguments& a) { \
    function##_impl(a);                                                                                         \
  }                                                                                                             \
  static void function##_generic(const Arguments& a) {                                                          \
    function##_impl(a);                                                                                         \
  }                                                                                                             \
  void function(const Arguments& a, CpuLevel level) {                                                           \
    if (level >= CpuLevel::kAvx512) return function##_avx512(a);                                                \
    level == CpuLevel::kAvx2 ? function##_avx2(a) : function##_generic(a);                                      \
  }
#else
#define DINOXX_LOSS_LEVELS(function, Arguments) \
  void function(const Arguments& a, CpuLevel) { \
    function##_impl(a);                         \
  }
#endif
