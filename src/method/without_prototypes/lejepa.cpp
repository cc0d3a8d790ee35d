// LeJEPA (Balestriero and LeCun 2025, arXiv 2511.08544): each view predicts the mean of the global ones, and SIGReg holds the features to
// an isotropic Gaussian. No teacher, no stopped gradient. Values of the paper where it has them.
#include "dinoxx/base/error.hpp"
#include "dinoxx/loss/sigreg.hpp"
#include "loss/loss_config.hpp"
#include "method/shared/two_views.hpp"

namespace dinoxx {
namespace {

MethodSpec make(const Config& config) {
  MethodSpec spec = projector_spec(config, 2);
  const double share = *config.loss->sigreg_weight;
  const auto gaussian = [count = config.loss->sigreg_directions](const LossInputs& in) {
    const at::Tensor directions = sigreg_directions(in.student.logits.size(2), count, in.seed, in.step);
    return LossOutputs{.loss = sigreg(in.student.logits, directions, *in.comm)};
  };
  spec.terms.push_back({"prediction", constant_weight(1 - share), prediction_of_globals, {Need::kSeveralViews}});
  spec.terms.push_back({"sigreg", constant_weight(share), gaussian, {}, check_two_images});
  return spec;
}

void check(const Config& config) {
  const double share = *config.loss->sigreg_weight;
  if (!(share > 0 && share < 1))
    fail_usage("loss.sigreg_weight", "a share above 0 and below 1 for lejepa, the rest is the prediction's", fmt::format("{}", share),
               "0.05 is the paper's");
}

}  // namespace

Method lejepa_method() {
  return {
      .name = "lejepa",
      .summary = "LeJEPA: views predict their mean, SIGReg makes the features Gaussian; no teacher",
      .defaults =
          {
              .profile = "dino-v1",
              .global_scale_min = 0.3,
              .local_scale_max = 0.3,
              .local_count = 6,
              .lr = 5e-4,
              .min_lr = 5e-7,
              .weight_decay = 0.05,
              .weight_decay_end = 0.05,
              .sigreg_weight = 0.05,
              .hidden_dim = 2048,
              .out_dim = 64,
          },
      .reads = {"head.out_dim", "head.hidden_dim", "head.norm_output", "loss.sigreg_*"},
      .teacher = TeacherPolicy::kNone,
      .make = make,
      .check = check,
  };
}

}  // namespace dinoxx
