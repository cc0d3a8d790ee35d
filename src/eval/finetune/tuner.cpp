#include "tuner.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace dinoxx::eval {

Tuner::Tuner(TunedNetwork& network, const TunerOptions& options, std::shared_ptr<Communicator> comm)
    : network_(network),
      options_(options),
      comm_(comm),
      layout_(ParamLayout::build(network.trainable())),
      state_(layout_, network.trainable(), /*with_grad=*/true, network.trainable().front().tensor.scalar_type()),
      sync_(std::move(comm), layout_, network.trainable(), state_),
      optimizer_(layout_, state_.master.scalar_type()),
      rules_(segment_rules(layout_, {.exclusion = DecayExclusion::kName, .layer_decay = options.layer_decay})),
      rate_{options.lr, 0.0, 0.0, options.warmup, options.steps} {
  for (size_t s = 0; s < rules_.size(); ++s)
    if (layout_.segments[s].name.starts_with("head.")) rules_[s].lr_scale *= options.head_lr;
  if (options.ema > 0) mean_ = state_.master.clone();
}

double Tuner::step(const at::Tensor& images, const at::Tensor& labels, int64_t counted, int64_t batch, int64_t at_once) {
  const int64_t n = images.size(0), passes = (n + at_once - 1) / at_once;
  double part = 0;
  state_.zero_grad();
  sync_.begin(static_cast<int>(passes));
  {
    const at::AutoGradMode with_grad(true);
    for (int64_t pass = 0; pass < passes; ++pass) {
      const int64_t begin = n * pass / passes, size = n * (pass + 1) / passes - begin;
      network_.bind();
      const at::Tensor loss = supervised_loss(network_.logits(images.narrow(0, begin, size)), labels.narrow(0, begin, size), options_.loss);
      // the sum over all images of all ranks, divided by their number; the averaging over ranks divides once more
      const double share = counted == 0 ? 0.0 : static_cast<double>(size) / static_cast<double>(batch);
      (loss * (share * comm_->size())).backward();
      network_.settle();
      part += share == 0 ? 0.0 : share * loss.item<double>();
    }
  }
  sync_.finish();
  const at::NoGradGuard no_grad;
  optimizer_.step(layout_, state_, rate_.at(done_++), options_.weight_decay, rules_);
  if (mean_.defined()) mean_.mul_(options_.ema).add_(state_.master, 1 - options_.ema);
  return part;
}

void Tuner::use(const at::Tensor& values) {
  const at::NoGradGuard no_grad;
  if (!kept_.defined()) kept_ = state_.master.clone();
  state_.master.copy_(values);
  network_.bind();
}

void Tuner::learn() {
  const at::NoGradGuard no_grad;
  state_.master.copy_(kept_);
  kept_ = at::Tensor();
}

}  // namespace dinoxx::eval
