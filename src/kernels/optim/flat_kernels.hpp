// Loops over the flat buffers on the CPU, compiled for several instruction sets and chosen at run time. No fused multiply-adds
// (-ffp-contract=off) and fixed orders of summation: all sets give the same bits, so that a run may move between processors.
#pragma once
#include <cstdint>

#include "kernels/cpu_level.hpp"

namespace dinoxx::optim_detail {

/// torch.optim.AdamW's constants of one step, computed in double and rounded once.
template <class T>
struct AdamWConstants {
  T keep;  ///< 1 - lr * weight_decay
  T one_minus_beta1;
  T beta2, one_minus_beta2;
  T sqrt_correction2;  ///< sqrt(1 - beta2^step)
  T eps;
  T minus_step_size;  ///< -lr / (1 - beta1^step)
};

struct FlatKernels {
  /// One AdamW update of n elements; `bf16` (n values) gets the rounded parameters unless null.
  void (*adamw_f32)(float* p, const float* g, float* m, float* v, uint16_t* bf16, int64_t n, const AdamWConstants<float>& c);
  void (*adamw_f64)(double* p, const double* g, double* m, double* v, uint16_t* bf16, int64_t n, const AdamWConstants<double>& c);
  /// t = keep * t + add * s; `bf16` as above.
  void (*average_f32)(float* t, const float* s, uint16_t* bf16, int64_t n, float keep, float add);
  void (*average_f64)(double* t, const double* s, uint16_t* bf16, int64_t n, double keep, double add);
  /// Sum of squares in double, by 16 interleaved partial sums.
  double (*squares_f32)(const float* x, int64_t n);
  double (*squares_f64)(const double* x, int64_t n);
  CpuLevel level;
};

extern const FlatKernels kPortableKernels, kAvx2Kernels, kAvx512Kernels;
/// The set for cpu_level().
const FlatKernels& flat_kernels();

}  // namespace dinoxx::optim_detail
