#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dinoxx {

/// Forms of supervised_loss, which says their formulas.
enum class SupervisedKind { kCrossEntropy, kClassBalanced, kLogitAdjusted, kFocal };

/// A loss for labelled images. `counts` are the images of each class in the training part: needed by class_balanced and logit_adjusted.
struct SupervisedLoss {
  SupervisedKind kind = SupervisedKind::kCrossEntropy;
  std::vector<int64_t> counts{};  ///< [C], at least one above zero
  double beta = 0.999;            ///< class_balanced, in [0, 1): 0 weighs all classes alike, towards 1 by the inverse of their counts
  double tau = 1;                 ///< logit_adjusted: 1 is the balanced softmax
  double gamma = 2;               ///< focal, >= 0: 0 is cross-entropy
  double smoothing = 0;           ///< label smoothing in [0, 1): 1 - smoothing on the label, smoothing / C on every class. Not with focal
};

/// Mean over the B images of the batch, the divisor being B in all four kinds (not the sum of weights, which would undo part of the
/// weighting in a batch of rare classes):
///   cross_entropy   -log softmax(z)_y
///   class_balanced  w_y * (-log softmax(z)_y), w_c = (1 - beta) / (1 - beta^n_c) scaled to a mean of 1 over the classes (Cui et al. 2019,
///   eq. 3) logit_adjusted  -log softmax(z + tau log prior)_y, prior_c = n_c / sum n (Menon et al. 2021, eq. 10) focal           -(1 -
///   p_y)^gamma log p_y, p = softmax(z) (Lin et al. 2017, eq. 4, over classes)
/// A class with count zero: class_balanced takes the mean over the other classes; logit_adjusted gives it the prior of one image, which
/// keeps the loss finite and its logit trained downwards. A label of such a class is an error for both: the counts are of another training
/// part. logits [B, C], labels [B] int64 in [0, C), on the CPU also where the logits are not. Computed in float32 (float64 for float64),
/// differentiable; scalar. Errors: shapes, labels outside, counts that are not C, parameters outside their range.
at::Tensor supervised_loss(const at::Tensor& logits, const at::Tensor& labels, const SupervisedLoss& spec);

}  // namespace dinoxx
