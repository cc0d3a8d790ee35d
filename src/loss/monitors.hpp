#pragma once
#include <ATen/core/Tensor.h>

#include <deque>
#include <limits>
#include <optional>
#include <string>

#include "dinoxx/comm/communicator.hpp"
#include "dinoxx/loss/scores.hpp"

/// Signs of collapse. No gradient; meant for every n-th step. Entropies and KL come with the losses themselves (DinoLossResult).
namespace dinoxx {

struct FeatureSpread {
  /// Standard deviation over the batch of the L2-normalised features, mean over dimensions, times sqrt(D): 1 when they point everywhere
  /// alike, 0 when they are all the same (SimSiam, Chen & He 2021, figure 2).
  double deviation = 0;
  /// RankMe (Garrido et al. 2023, eq. 1): exp of the entropy of p_k = s_k / sum s + 1e-7, s the singular values of the features, not
  /// centred. From 1 to min(N, D).
  double effective_rank = 0;
};
/// features [N, D], N >= 2: CLS features of this rank. float64 eigenvalues of the smaller of the two Gram matrices: N^2 D + min(N, D)^3.
FeatureSpread feature_spread(const at::Tensor& features);

struct PrototypeUsage {
  double used = 0;        ///< share of the K prototypes that are the largest of some row
  double perplexity = 0;  ///< exp of the entropy of the mean assignment: from 1 (one prototype takes all) to K
  int64_t rows = 0;       ///< over all ranks
};
/// Of softmax((logits - centre) / temp). logits [..., K], centre [K]. Over the ranks of `comm` when given (two collectives; rows may
/// differ, and be 0). One pass, memory 4 [K] and 2 [K] a thread.
PrototypeUsage prototype_usage(const Scores& logits, const at::Tensor& centre, double temp, Communicator* comm = nullptr);

/// What collapse_alarm judges; NaN means not measured.
struct CollapseSigns {
  double teacher_entropy = std::numeric_limits<double>::quiet_NaN();  ///< nats
  double kl = std::numeric_limits<double>::quiet_NaN();
  int64_t prototypes = 0;
  double perplexity = std::numeric_limits<double>::quiet_NaN();  ///< of the mean assignment
  double deviation = std::numeric_limits<double>::quiet_NaN();
  double effective_rank = std::numeric_limits<double>::quiet_NaN();
};

/// Text for a person when the signs say collapse, else nothing. The rule, each on its own:
///   constant features:  deviation < 0.01, or effective rank < 1.05;
///   one prototype:      perplexity < 1.5 with at least 8 prototypes;
///   uniform output:     teacher entropy > 0.999 log K and KL < 0.001 nats.
/// Untrained networks can look like this: judge after the warm-up, and not while FirstSpread goes on. A run far from collapse has deviation
/// > 0.3 and an effective rank in the tens.
std::optional<std::string> collapse_alarm(const CollapseSigns& signs);

/// Tells features that do not differ between images yet from those that do so no more. With a LayerScale that begins at 1e-5 (DINOv2,
/// DINOv3) CLS hardly sees the image at first, and what it sees grows by orders of magnitude over some hundred steps.
class FirstSpread {
 public:
  /// In the order of the looks; NaN, not measured, is passed over.
  void look(const CollapseSigns& signs);
  /// Features have never told images apart by collapse_alarm's rule, and their deviation grows: by more than a tenth over the last kLooks
  /// looks, or over all where there were fewer. Then no sign is one of a collapse.
  bool goes_on() const;
  static constexpr size_t kLooks = 10;

 private:
  bool over_ = false;
  std::deque<double> deviations_;
};

}  // namespace dinoxx
