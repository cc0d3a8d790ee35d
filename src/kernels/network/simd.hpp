// Vector arithmetic for the fused kernels. Included once by each instruction-set translation unit, which defines DINOXX_LANES (floats in a
// register) and DINOXX_ISA (its namespace). GCC vector extensions, so the same text serves AVX-512, AVX2 and any other machine. No standard
// header with inline functions may be included here: the linker could keep the AVX-512 copy of one for the whole program.
#pragma once
#include <cstdint>
#include <cstring>

namespace dinoxx::ops {
namespace DINOXX_ISA {

constexpr int kLanes = DINOXX_LANES;
typedef float vf __attribute__((vector_size(4 * DINOXX_LANES)));
typedef int32_t vi __attribute__((vector_size(4 * DINOXX_LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * DINOXX_LANES)));
typedef uint16_t vh __attribute__((vector_size(2 * DINOXX_LANES)));

/// bfloat16 as stored.
struct Bf16 {
  uint16_t bits;
};

inline vf splat(float x) {
  return vf{} + x;
}
inline vi as_int(vf x) {
  return (vi)x;
}
inline vf as_float(vi x) {
  return (vf)x;
}
inline vf select(vi mask, vf a, vf b) {
  return mask ? a : b;
}
inline vf vmax(vf a, vf b) {
  return a > b ? a : b;
}
inline vf vabs(vf x) {
  return as_float(as_int(x) & 0x7fffffff);
}

inline vf load(const float* p) {
  vf v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, vf v) {
  __builtin_memcpy(p, &v, sizeof v);
}

inline vf load(const Bf16* p) {
  vh h;
  __builtin_memcpy(&h, p, sizeof h);
  return (vf)(__builtin_convertvector(h, vu) << 16);
}
/// Round to nearest even; a NaN stays one.
inline void store(Bf16* p, vf v) {
#ifdef __AVX512BF16__
  static_assert(kLanes == 16);
  const auto h = __builtin_ia32_cvtneps2bf16_v16sf(v);  // one instruction; numbers under 1.2e-38 become zero
  __builtin_memcpy(p, &h, sizeof h);
#else
  const vu u = (vu)v;
  const vu rounded = u + 0x7fffu + ((u >> 16) & 1u);
  const vu bits = (v != v) ? vu{} + 0x7fc00000u : rounded;
  const vh h = __builtin_convertvector(bits >> 16, vh);
  __builtin_memcpy(p, &h, sizeof h);
#endif
}

/// The first n lanes, zeros behind.
template <class T>
inline vf load(const T* p, int64_t n) {
  if (n >= kLanes) return load(p);
  T part[kLanes] = {};
  __builtin_memcpy(part, p, n * sizeof(T));
  return load(part);
}
template <class T>
inline void store(T* p, vf v, int64_t n) {
  if (n >= kLanes) return store(p, v);
  T part[kLanes];
  store(part, v);
  __builtin_memcpy(p, part, n * sizeof(T));
}

inline vi lane_index() {
  vi v{};
  for (int i = 0; i < kLanes; ++i) v[i] = i;
  return v;
}
/// One exchange of a butterfly: bit `step` of the row number changes places with that of the lane.
template <int step>
inline void exchange(vf r[kLanes]) {
  const vi lane = lane_index();
  const vi low = (lane & step) != 0 ? lane - step + kLanes : lane;
  const vi high = (lane & step) != 0 ? lane + kLanes : lane + step;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i & step) continue;
    const vf a = r[i], b = r[i + step];
    r[i] = __builtin_shuffle(a, b, low);
    r[i + step] = __builtin_shuffle(a, b, high);
  }
}
/// Square transpose in registers.
inline void transpose_square(vf r[kLanes]) {
  exchange<1>(r);
  exchange<2>(r);
  if constexpr (kLanes >= 8) exchange<4>(r);
  if constexpr (kLanes >= 16) exchange<8>(r);
}

/// Sum and maximum over lanes by halving, in an order that depends on the lane count alone.
inline float sum(vf v) {
  const vi lane = lane_index();
  for (int half = kLanes / 2; half > 0; half /= 2) v += __builtin_shuffle(v, lane ^ half);
  return v[0];
}
inline float maximum(vf v) {
  const vi lane = lane_index();
  for (int half = kLanes / 2; half > 0; half /= 2) v = vmax(v, __builtin_shuffle(v, lane ^ half));
  return v[0];
}

/// exp to about 1e-7 relative on [-87, 88]; below, a number under 1e-37. Cody-Waite reduction, polynomial of degree 6 fitted for minimal
/// relative error.
inline vf exp(vf x) {
  x = x < -87.0f ? splat(-87.0f) : x;  // in this form a NaN passes
  x = x > 88.0f ? splat(88.0f) : x;
  const vf shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the low mantissa bits now hold round(x / ln 2)
  const vf n = shifted - 12582912.0f;
  vf r = x - n * 0.693145752f;  // ln 2 in two parts, the first exact in products with |n| < 2^8
  r = r - n * 1.42860677e-6f;
  vf p = r * 0.00138145965f + 0.00836871751f;
  p = p * r + 0.041668389f;
  p = p * r + 0.166665211f;
  p = p * r + 0.49999994f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return as_float(as_int(p) + (as_int(shifted) << 23));
}

struct Gelu {
  vf value, derivative;
};
/// x Phi(x) and its derivative Phi(x) + x phi(x). Phi through erfc: exp(z^2) erfc(z), z = |x| / sqrt 2, is a polynomial of degree 8 in 1 /
/// (1 + 0.3275911 z), the substitution of Hastings (1955); coefficients fitted for minimal relative error (1.4e-7), so that the negative
/// tail keeps its relative accuracy. One exp serves both results.
inline Gelu gelu(vf x) {
  const vf z = vabs(x) * 0.707106781f;
  const vf t = 1.0f / (1.0f + 0.3275911f * z);
  vf p = t * -0.140644014f + 0.494496971f;
  p = p * t + -0.401756495f;
  p = p * t + 0.44900462f;
  p = p * t + 0.0279397294f;
  p = p * t + 0.205031633f;
  p = p * t + 0.180886492f;
  p = p * t + 0.185041204f;
  const vf e = exp(-z * z);
  const vf tail = 0.5f * e * p * t;  // Phi(-|x|)
  const vf phi = select(x < 0.0f, tail, 1.0f - tail);
  return {x * phi, phi + x * (e * 0.398942280f)};
}

}  // namespace DINOXX_ISA
}  // namespace dinoxx::ops
