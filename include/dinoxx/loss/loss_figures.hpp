#pragma once
#include <ATen/core/Tensor.h>

namespace dinoxx {

/// What a log wants to know of a loss over prototypes, nats. On a CPU the numbers are there at once. On a GPU they stay in `figures`, so
/// that the host need not wait, and are NaN until read().
struct LossFigures {
  at::Tensor figures;          ///< [4] float64 on the logits' device: the four numbers below, in their order
  double value = 0;            ///< of the loss, as its type holds it
  double teacher_entropy = 0;  ///< mean over teacher rows
  double student_entropy = 0;  ///< mean over student rows
  double kl = 0;               ///< mean of KL(teacher || student) over pairs, or rows

  /// Copies `figures` into the numbers; the host waits for a GPU.
  void read();
  /// Takes `figures`; reads them where that needs no waiting.
  void set(const at::Tensor& device_figures);
};

}  // namespace dinoxx
