#pragma once
#include <ATen/core/Tensor.h>

#include "dinoxx/loss/centre.hpp"
#include "dinoxx/loss/loss_figures.hpp"
#include "dinoxx/loss/scores.hpp"

namespace dinoxx {

/// The loss and what a log wants to know of it; KL is a mean over pairs, all alike whatever local_weight is.
struct DinoLossResult : LossFigures {
  at::Tensor loss;           ///< scalar float32 (float64 for float64 logits), differentiable with respect to the student
  at::Tensor teacher_sum;    ///< [K] sum of raw teacher logits over views and local batch, for the centre; undefined when not wanted
  int64_t teacher_rows = 0;  ///< rows of the teacher: what teacher_sum adds up
};

/// DINO loss (dino_family.md 1.2; 2.2 and 3.2 are the same sum): cross-entropy between softmax((teacher - centre) / teacher_temp) and
/// softmax(student / student_temp) over all pairs of different views, each a batch mean, divided by the number of pairs G (V - 1).
/// student [V, B, K], teacher [G, B, K] (G <= V, the first G views), centre [K] (a Centre's value or sinkhorn_centre()).
/// local_weight multiplies the pairs whose student view has no teacher (v >= G) and not the divisor: DINOv3's reweight_dino_local_loss.
/// want_teacher_sum: false saves a pass where nothing keeps a running centre.
///
/// Memory beyond the logits: the student's gradient in the logits' type, and (5 + G) K floats a thread in the kernel that float32 and
/// bfloat16 take on the CPU, one pass forward and backward. On a GPU the same types, where K is a multiple of 16 bytes, take own kernels
/// that read the logits twice and need 4 floats a row beside. Else ATen's operators view by view, about 2 G + 5 tensors of [B, K] in
/// float32 (float64). Never [pairs, B, K], nor [V, B, K] in float32. Scores of rows and prototypes: all this for the images that are made
/// at once (an image with all its views), and the gradient of rows and prototypes, float32 [K, d] at least; no [V, B, K]. Of columns ATen's
/// operators, and collectives of the ranks that have them: the log-sum-exp of each row, and a sum of the figures.
DinoLossResult dino_loss(const Scores& student, const Scores& teacher, const at::Tensor& centre, double student_temp, double teacher_temp,
                         double local_weight = 1.0, bool want_teacher_sum = true);

}  // namespace dinoxx
