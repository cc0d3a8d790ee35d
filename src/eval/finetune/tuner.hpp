#pragma once
#include "dinoxx/loss/supervised.hpp"
#include "optim/adamw.hpp"
#include "optim/schedule.hpp"
#include "parallel/gradient_sync.hpp"
#include "tuned_network.hpp"

namespace dinoxx::eval {

struct TunerOptions {
  double lr = 1e-3, head_lr = 1, weight_decay = 0, layer_decay = 1;
  int64_t warmup = 0, steps = 1;  ///< rate: linear from 0 to lr, then half a cosine to 0 at `steps`
  double ema = 0;                 ///< momentum of the running mean of the leaves; 0: none
  SupervisedLoss loss;
};

/// AdamW on the leaves of a tuned network, gradients averaged over ranks as in training. Leaves that the ranks begin with must be equal.
class Tuner {
 public:
  Tuner(TunedNetwork& network, const TunerOptions& options, std::shared_ptr<Communicator> comm);

  /// One step on a batch of `batch` images over all ranks, of which this rank holds images [n, C, S, S] and labels [n] int64 in the head's
  /// classes. A rank without any takes part with one image that counts nothing: `counted` 0 of n = 1. At most `at_once` images go through
  /// the network together. Returns this rank's part of the mean loss; the parts of all ranks add up to it.
  double step(const at::Tensor& images, const at::Tensor& labels, int64_t counted, int64_t batch, int64_t at_once);

  /// The weights that answer: the running mean where there is one.
  at::Tensor answer() const { return mean_.defined() ? mean_ : state_.master; }
  /// Puts values of answer() into the network, for evaluation. learn() puts back those that learn.
  void use(const at::Tensor& values);
  void learn();
  const ParamLayout& layout() const { return layout_; }

 private:
  TunedNetwork& network_;
  TunerOptions options_;
  std::shared_ptr<Communicator> comm_;
  ParamLayout layout_;
  FlatState state_;
  GradientSync sync_;
  AdamW optimizer_;
  std::vector<SegmentRule> rules_;
  CosineSchedule rate_;
  int64_t done_ = 0;
  at::Tensor mean_, kept_;
};

}  // namespace dinoxx::eval
