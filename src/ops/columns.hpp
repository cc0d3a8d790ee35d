#pragma once
#include <ATen/core/Tensor.h>

/// What batch normalisation does on a CPU, fused with the addition and the rectifier behind it. x is [B, C], or [B, C, H, W] in
/// channels-last memory, float32 or bfloat16; channels are columns, all else rows. Statistics and factors are float64 [C]. Results do not
/// depend on the number of threads. None of this is seen by autograd.
namespace dinoxx::ops {

/// Whether these kernels are on and take x.
bool has_column_kernels(const at::Tensor& x);

struct Moments {
  at::Tensor mean, variance;  ///< the variance biased
};
Moments column_moments(const at::Tensor& x);

/// (x - mean) scale + shift, then + residual (as x; or undefined), then relu if wanted.
at::Tensor map_columns(const at::Tensor& x, const at::Tensor& mean, const at::Tensor& scale, const at::Tensor& shift,
                       const at::Tensor& residual, bool relu);

/// g is dy where y is above 0; all of dy where y is undefined. Sums over rows of g and of g (x - mean): [2, C].
at::Tensor column_gradient_sums(const at::Tensor& dy, const at::Tensor& y, const at::Tensor& x, const at::Tensor& mean);

struct ColumnGradients {
  at::Tensor x, residual;  ///< of_g g + of_x (x - mean) + of_1; g, undefined where it is not wanted or is dy itself
};
ColumnGradients column_gradient(const at::Tensor& dy, const at::Tensor& y, const at::Tensor& x, const at::Tensor& mean,
                                const at::Tensor& of_g, const at::Tensor& of_x, const at::Tensor& of_1, bool of_residual);

}  // namespace dinoxx::ops
