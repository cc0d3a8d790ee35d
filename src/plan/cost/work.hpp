#pragma once
#include "cost.hpp"

namespace dinoxx::plan {

/// One step of one rank at one resolution.
struct Work {
  Cost student, teacher, losses;  ///< backbone and heads; the teacher's has the Gram teacher's, too
  double saved = 0;               ///< bytes of activations at their largest: all that the backward pass begins with and needs first
  double prototypes = 0;          ///< bytes of logits, and of their gradients at the same moment
  double in_front = 0;            ///< bytes of the rows in front of prototypes, of student and teacher
  double pixels = 0;              ///< bytes of the crops on the device
  double rows = 0;                ///< tokens of the student's crops, or positions of its last map
  double product_flops() const { return student.product_flops() + teacher.product_flops() + losses.product_flops(); }
  double attention_flops() const { return student.attention + teacher.attention; }
  double flops() const { return product_flops() + attention_flops(); }
};

/// `batch`: images of a rank. `recompute` and `rows_at_once` take the place of what is configured.
Work work_of(const Model& model, const Resolution& resolution, int64_t batch, const Recompute& recompute, int64_t rows_at_once);

/// The mean over the resolutions by their shares, with the largest bytes of any.
Work mean_work(const Model& model, int64_t batch, const Recompute& recompute, int64_t rows_at_once);

}  // namespace dinoxx::plan
