#pragma once
#include <ATen/core/Tensor.h>

#include "dinoxx/loss/loss_figures.hpp"
#include "dinoxx/loss/scores.hpp"

namespace dinoxx {

/// The loss and what a log wants to know of it: means over rows, 0 when M = 0.
struct PatchLossResult : LossFigures {
  at::Tensor loss;  ///< scalar float32 (float64 for float64 logits), differentiable with respect to student
};

/// iBOT's loss at masked patches: sum_i row_weight_i CE_i / divisor, CE_i the cross-entropy between softmax((teacher_i - centre) /
/// teacher_temp) and softmax(student_i / student_temp), of tokens at the same place of the same view. student and teacher [M, K], one row
/// for each masked patch; centre [K]; row_weight [M]. M = 0: loss 0, still connected to student.
///
/// DINOv2 and DINOv3 (dino_family.md 2.2): row_weight 1 / (number of masked patches in the row's crop), divisor the number of this rank's
/// global crops, masked or not. The original iBOT (4.1) averages over images and then over its global views, where a crop without a mask
/// counts as 0: the same numbers. For its other reading, a mean over masked patches alone, give weights 1 and the count of patches.
///
/// The sums for a running patch centre: loss/centre.hpp. Memory beyond the logits as dino_loss: the student's gradient, and 4 K floats a
/// thread; on a GPU in float32 and bfloat16, K a multiple of 16 bytes, 12 floats a row; else, in ATen's way, blocks of rows of 16 MB, six
/// at a time. Scores of rows and prototypes as dino_loss. Of columns: `divisor` and rows are those of all ranks that share them.
PatchLossResult patch_loss(const Scores& student, const Scores& teacher, const at::Tensor& centre, const at::Tensor& row_weight,
                           double student_temp, double teacher_temp, double divisor);

}  // namespace dinoxx
