// VICReg (Bardes, Ponce and LeCun 2022, arXiv 2105.04906): the two views of an image agree, each channel keeps its variance over the batch,
// and channels do not vary together. Defaults of facebookresearch/vicreg, main_vicreg.py, whose rate
// ends at a thousandth of its peak.
#include <ATen/ATen.h>

#include "loss/loss_config.hpp"
#include "loss/whole_batch/variance_covariance.hpp"
#include "method/shared/two_views.hpp"

namespace dinoxx {
namespace {

MethodSpec make(const Config& config) {
  MethodSpec spec = expander_spec(config);
  const double agree = config.loss->invariance_weight, vary = config.loss->variance_weight, apart = config.loss->covariance_weight;
  const auto loss = [=](const LossInputs& in) {
    const auto [invariance, variance, covariance] = variance_covariance(in.student.logits, *in.comm);
    LossOutputs out;
    out.loss = agree * invariance + vary * variance + apart * covariance;
    out.metrics = {
        {"invariance_loss", invariance.detach()}, {"variance_loss", variance.detach()}, {"covariance_loss", covariance.detach()}};
    return out;
  };
  spec.terms.push_back({"vicreg", constant_weight(1), loss, {Need::kTwoViews}, check_two_images});
  return spec;
}

}  // namespace

Method vicreg_method() {
  return {
      .name = "vicreg",
      .summary = "VICReg: views agree, channels vary and do not vary together; no teacher",
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
      .reads = {"head.out_dim", "head.hidden_dim", "head.layers", "loss.invariance_weight", "loss.variance_weight",
                "loss.covariance_weight"},
      .teacher = TeacherPolicy::kNone,
      .make = make,
  };
}

}  // namespace dinoxx
