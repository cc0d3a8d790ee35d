// Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230): the cross-correlation of the channels of two views is pulled to the identity.
// Defaults of facebookresearch/barlowtwins, main.py; its rate of biases and norms, 0.024 of the other, is the weight of the loss here, and
// its rate ends at a thousandth of its peak.
#include "loss/loss_config.hpp"
#include "loss/whole_batch/cross_correlation.hpp"
#include "method/shared/two_views.hpp"

namespace dinoxx {
namespace {

MethodSpec make(const Config& config) {
  MethodSpec spec = expander_spec(config);
  const auto loss = [lambda = config.loss->redundancy_weight](const LossInputs& in) {
    const auto [invariance, redundancy] = cross_correlation(in.student.logits, *in.comm);
    LossOutputs out;
    out.loss = invariance + lambda * redundancy;
    out.metrics = {{"invariance_loss", invariance.detach()}, {"redundancy_loss", redundancy.detach()}};
    return out;
  };
  spec.terms.push_back({"barlow_twins", constant_weight(config.loss->correlation_weight), loss, {Need::kTwoViews}, check_two_images});
  return spec;
}

}  // namespace

Method barlow_twins_method() {
  return {
      .name = "barlow_twins",
      .summary = "Barlow Twins: channels of two views correlate with themselves alone; no teacher",
      .defaults =
          {
              .profile = "byol",
              .global_scale_min = 0.08,
              .local_scale_max = 0.08,
              .optimizer = "lars",
              .lr = 0.2,
              .weight_decay = 1e-6,
              .weight_decay_end = 1e-6,
              .hidden_dim = 8192,
              .out_dim = 8192,
          },
      .reads = {"head.out_dim", "head.hidden_dim", "head.layers", "loss.correlation_weight", "loss.redundancy_weight"},
      .teacher = TeacherPolicy::kNone,
      .make = make,
  };
}

}  // namespace dinoxx
