#pragma once
#include <functional>

#include "dinoxx/loss/scores.hpp"
#include "loss/loss_common.hpp"

/// What the losses over prototypes share: one part of the rows after the other, forward and backward together.
namespace dinoxx::loss_common {

/// One part of the rows: logits, contiguous.
struct PrototypePart {
  at::Tensor student, teacher;
  at::Tensor grad;                          ///< like student: where d loss / d student goes; undefined where it is not wanted
  int64_t begin = 0, count = 0;             ///< which indices of the rows' dimension these are
  const PrototypeShards* shards = nullptr;  ///< null: these are all columns
};
/// Loss and figures of a part as if it were all there is: a mean over its rows. Of columns: this rank's share of the sums.
using LossOfPart = std::function<LossAndFigures(const PrototypePart& part)>;

/// The mean over all rows, whose parts lie along dimension `dim`; differentiable with respect to the student. Where student or teacher give
/// the factors of their logits, memory is that of the logits of one part, and of a gradient of the factors.
LossAndFigures prototype_loss(const Scores& student, const Scores& teacher, int64_t dim, const LossOfPart& loss);

/// Over the last dimension, of which each of the ranks has some columns. Null: all are here. Collective.
at::Tensor log_softmax(const at::Tensor& logits, const PrototypeShards* shards);

}  // namespace dinoxx::loss_common
