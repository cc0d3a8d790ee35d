#pragma once
#include <ATen/core/Tensor.h>

#include "dinoxx/loss/scores.hpp"

namespace dinoxx {

/// Centre of the teacher's logits, EMA of the batch mean over all ranks; updated after the loss that used it.
///
/// DINO v1 updates at the end of the step (dino_family.md 1.2). DINOv2 starts the reduction there and applies it at the next call, just
/// before the centre is read (2.2): every loss sees the same value as with v1, and a checkpoint written between two steps lacks the last
/// update, which its authors' resume loses. There is one rule here, v1's, for both.
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

/// What Centre::update takes, before the sum over ranks. `rows` may differ between ranks: reduce it too.
struct CentreSum {
  at::Tensor sum;    ///< [K], float32 (float64 for float64)
  int64_t rows = 0;  ///< what the sum is divided by
};

/// Every row counts the same: sum of logits [M, K] over M rows. M may be 0. Scores of rows and prototypes: logits are linear in the rows,
/// so that none are made.
CentreSum centre_sum(const Scores& logits);

/// Every group counts the same, however many rows it has: the sum over groups of the mean of their rows, and the number of groups that have
/// any. DINOv2's patch centre (ibot_patch_loss.py: mean over a rank's masked tokens, then over ranks) is this with one group per rank; with
/// groups of `group_size` consecutive batch slots it does not depend on the number of ranks. logits [M, K]; row_slot [M] int64: the local
/// batch slot of each row; a group is row_slot / group_size. Memory: [K], and for other than float32 and float64 logits a block of rows of
/// at most 16 MB.
CentreSum centre_sum_by_group(const Scores& logits, const at::Tensor& row_slot, int64_t group_size);

}  // namespace dinoxx
