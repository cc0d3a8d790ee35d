#pragma once
#include <ATen/core/Tensor.h>

#include <initializer_list>
#include <utility>

/// The losses over prototypes and the column sums of logits by own kernels on a GPU (prototype_loss_kernels.cu, column_kernels.cu). In a
/// build without CUDA takes() is false and the others fail. No function waits for the GPU.
namespace dinoxx::loss_cuda {

/// Whether the kernels can read these logits [..., K], and centre [K] where there is one: one type, float32 or bfloat16, contiguous, K of
/// whole 16-byte vectors, aligned to 16 bytes. On any device.
bool fits(std::initializer_list<at::Tensor> logits, const at::Tensor& centre = {});
/// Whether these run on the own kernels: logits on a GPU that fit, and ops::fused().
bool takes(std::initializer_list<at::Tensor> logits, const at::Tensor& centre = {});

/// Of one call on the logits' device.
struct LossTensors {
  at::Tensor loss;     ///< scalar float32
  at::Tensor figures;  ///< [4] float64: LossFigures
};

struct Temperatures {
  double student = 0.1, teacher = 0.04;
};
/// Logits [V, B, K] and [G, B, K] that fit; grad like student, or undefined.
LossTensors dino(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& centre, Temperatures temperatures,
                 double local_weight, const at::Tensor& grad);
/// Logits [M, K] that fit; row_weight [M] float32; grad like student, or undefined. M may be 0.
LossTensors patch(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& centre, const at::Tensor& row_weight,
                  Temperatures temperatures, double divisor, const at::Tensor& grad);

/// What backward returns: a gradient that forward computed, times the weight that backward arrives with. On a GPU in the gradient's place,
/// so that a second backward through the same graph is an error; elsewhere loss_common::scaled_gradient().
at::Tensor scaled(const at::Tensor& gradient, const at::Tensor& weight);
/// gradient *= weight, a float32 scalar on the gradient's device; one that is 1 costs a launch alone. For gradients that fit.
void scale(const at::Tensor& gradient, const at::Tensor& weight);

/// loss_columns::log_sum_exp() and softmax_sums() of logits [M, K] that fit.
std::pair<at::Tensor, at::Tensor> log_sum_exp(const at::Tensor& logits, double temp);
at::Tensor softmax_sums(const at::Tensor& logits, const at::Tensor& centre, double temp, const at::Tensor& is_top);
/// sum_i row_weight_i logits_i, [K]; row_weight [M] float32 on the logits' device.
at::Tensor weighted_sums(const at::Tensor& logits, const at::Tensor& row_weight);

/// Sinkhorn-Knopp between its sums over ranks, all [K] float32: sums *= exp(own_top - top).
void rescale(at::Tensor& sums, const at::Tensor& own_top, const at::Tensor& top);
/// temp (top + log sums), 0 where the sum is 0.
at::Tensor first_centre(const at::Tensor& top, const at::Tensor& sums, double temp);
/// centre += temp log sums where the sum is not 0.
void next_centre(at::Tensor& centre, const at::Tensor& sums, double temp);

}  // namespace dinoxx::loss_cuda
