#pragma once
#include <ATen/ATen.h>

#include <initializer_list>

#include "kernels/loss/loss_level.hpp"
#include "ops/ops.hpp"

/// What the losses share: which type they compute in, and when a kernel does it.
namespace dinoxx::loss_common {

/// float32, or float64 for float64.
inline at::ScalarType wide_type(const at::Tensor& t) {
  return t.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// Kernels take float32 and bfloat16 logits on the CPU with a float32 centre; all else goes the way of ATen's formulas.
inline bool runs_in_kernel(std::initializer_list<at::Tensor> logits, const at::Tensor& centre = {}) {
  if (!ops::fused() || (centre.defined() && centre.scalar_type() != at::kFloat)) return false;
  for (const at::Tensor& t : logits)
    if (!t.device().is_cpu() || (t.scalar_type() != at::kFloat && t.scalar_type() != at::kBFloat16)) return false;
  return true;
}

/// L2-normalised over the last dimension, in float32 at least; a norm below eps counts as eps.
inline at::Tensor normalized(const at::Tensor& t, double eps = 1e-12) {
  const at::Tensor x = t.to(wide_type(t));
  return x / at::linalg_vector_norm(x, 2, -1, /*keepdim=*/true).clamp_min(eps);
}

inline loss_kernel::Storage storage_of(const at::Tensor& t) {
  return t.scalar_type() == at::kFloat ? loss_kernel::Storage::kFloat : loss_kernel::Storage::kBFloat16;
}

/// Sums over all rows or pairs, in nats.
struct PrototypeSums {
  double loss = 0, cross_entropy = 0, entropy = 0, student_entropy = 0;
};
/// What they are divided by.
struct PrototypeCounts {
  double loss = 1, pairs = 1, teacher_rows = 1, student_rows = 1;
};
/// A loss over prototypes as a scalar, and LossFigures::figures.
struct LossAndFigures {
  at::Tensor loss, figures;
};

inline LossAndFigures means(const PrototypeSums& sums, const PrototypeCounts& counts, at::ScalarType type) {
  const at::Tensor loss = at::full({}, sums.loss / counts.loss, at::TensorOptions(type));
  const double teacher_entropy = sums.entropy / counts.teacher_rows;
  return {loss, at::tensor({loss.item<double>(), teacher_entropy, sums.student_entropy / counts.student_rows,
                            sums.cross_entropy / counts.pairs - teacher_entropy},
                           at::TensorOptions(at::kDouble))};
}
/// The same of sums [4] float64 in the order of PrototypeSums, on any device and without waiting for it.
inline LossAndFigures means(const at::Tensor& sums, const PrototypeCounts& counts, at::ScalarType type) {
  if (sums.is_cpu()) {
    const double* s = sums.const_data_ptr<double>();
    return means(PrototypeSums{s[0], s[1], s[2], s[3]}, counts, type);
  }
  const at::Tensor loss = (sums[0] / counts.loss).to(type), teacher_entropy = sums[2] / counts.teacher_rows;
  return {loss,
          at::stack({loss.to(at::kDouble), teacher_entropy, sums[3] / counts.student_rows, sums[1] / counts.pairs - teacher_entropy})};
}

/// A gradient that forward computed, times the weight that backward arrives with; on a GPU the host does not look at it.
inline at::Tensor scaled_gradient(const at::Tensor& gradient, const at::Tensor& weight) {
  if (!weight.device().is_cpu()) return gradient * weight;
  const double scale = weight.item<double>();
  return scale == 1.0 ? gradient : gradient * scale;
}

/// Sum of the entropies of probabilities p, float64 scalar; a probability of 0, whose logarithm is -infinity, counts 0.
inline at::Tensor entropy_sum(const at::Tensor& p, const at::Tensor& log_p) {
  return -log_p.clamp_min(-1e30).mul_(p).sum(at::kDouble);
}

}  // namespace dinoxx::loss_common
