// SimCLR (Chen et al. 2020): projector, NT-Xent over all ranks, no teacher. Defaults of its paper, LARS with weight decay as the published
// runs in solo-learn.
#include "dinoxx/loss/nt_xent.hpp"
#include "loss/loss_config.hpp"
#include "method/shared/two_views.hpp"

namespace dinoxx {
namespace {

MethodSpec make(const Config& config) {
  MethodSpec spec = two_view_spec(config);
  const auto loss = [temp = config.loss->temp](const LossInputs& in) {
    LossOutputs out;
    out.loss = nt_xent(in.student.logits, temp, *in.comm);
    return out;
  };
  // the other images are the negatives
  spec.terms.push_back({"simclr", constant_weight(1), loss, {Need::kTwoViews}, check_two_images});
  return spec;
}

}  // namespace

Method simclr_method() {
  return {
      .name = "simclr",
      .summary = "SimCLR: tells images apart, no teacher",
      .defaults =
          {
              .profile = "simclr",
              .global_scale_min = 0.08,
              .local_scale_max = 0.08,
              .optimizer = "lars",
              .lr = 0.3,
              .weight_decay = 1e-5,
              .weight_decay_end = 1e-5,
              .hidden_dim = 2048,
              .out_dim = 128,
          },
      .reads = {"head.out_dim", "head.hidden_dim", "head.norm_output", "loss.temp"},
      .teacher = TeacherPolicy::kNone,
      .make = make,
  };
}

}  // namespace dinoxx
