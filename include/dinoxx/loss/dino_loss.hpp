#pragma once
#include <ATen/core/Tensor.h>

namespace dinoxx {

struct DinoLossResult {
  at::Tensor
      loss;  ///< scalar float32 (float64 for float64 logits), differentiable w.r.t. student_logits: mean over the local batch and the pairs
  at::Tensor teacher_sum;      ///< [K] sum of raw teacher logits over views and local batch, for the centre
  int64_t teacher_rows = 0;    ///< how many rows teacher_sum adds up
  double teacher_entropy = 0;  ///< mean over rows, nats
  double kl = 0;               ///< loss - teacher entropy: mean KL(teacher || student)
};

/// DINO v1 loss (dino_family.md 1.2): cross-entropy between softmax((teacher - centre) / teacher_temp) and softmax(student / student_temp)
/// over all pairs of different views, each a batch mean, divided by the number of pairs. student_logits [V, B, K], teacher_logits [G, B, K]
/// (G <= V, the first G views), centre [K]. One pass forward and backward on CPU; no [pairs, B, K] tensor.
DinoLossResult dino_loss(const at::Tensor& student_logits, const at::Tensor& teacher_logits, const at::Tensor& centre, double student_temp,
                         double teacher_temp);

/// Centre of the teacher's logits, EMA of the batch mean over all ranks; updated after the loss that used it.
class Centre {
 public:
  Centre(int64_t out_dim, double momentum, at::ScalarType dtype = at::kFloat);
  const at::Tensor& value() const { return value_; }  ///< [K]; saved in checkpoints as a buffer
  at::Tensor& value() { return value_; }
  /// value = m * value + (1 - m) * sum / rows, with sum and rows already reduced over ranks.
  void update(const at::Tensor& sum, int64_t rows);

 private:
  at::Tensor value_;
  double momentum_;
};

}  // namespace dinoxx
