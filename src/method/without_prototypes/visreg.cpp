// VISReg (Wu et al. 2026, arXiv 2606.02572): each view predicts the mean of the global ones, as in LeJEPA; the batch keeps mean, scale and
// shape of a Gaussian, each by a term of its own. No teacher. Values of the paper (Tables 3, 4 and 12, the share that it names for small
// sets); the projector has ReLU in place of GELU.
#include "dinoxx/base/error.hpp"
#include "dinoxx/loss/sigreg.hpp"
#include "loss/loss_config.hpp"
#include "loss/whole_batch/sketching.hpp"
#include "method/shared/two_views.hpp"
#include "model/heads/head_config.hpp"

namespace dinoxx {
namespace {

MethodSpec make(const Config& config) {
  MethodSpec spec = projector_spec(config, *config.head->layers);
  const double share = config.loss->sketch_weight, shape = config.loss->sketch_shape;
  spec.terms.push_back({"prediction", constant_weight(1 - share), prediction_of_globals, {Need::kSeveralViews}});
  const auto loss = [=, count = config.loss->sketch_directions](const LossInputs& in) {
    const at::Tensor directions = sigreg_directions(in.student.logits.size(2), count, in.seed, in.step);
    const Sketching parts = sketching(in.student.logits, directions, *in.comm);
    LossOutputs out;
    out.loss = parts.centre + parts.scale + shape * parts.shape;
    out.metrics = {{"centre_loss", parts.centre.detach()}, {"scale_loss", parts.scale.detach()}, {"shape_loss", parts.shape.detach()}};
    return out;
  };
  spec.terms.push_back({"sketching", constant_weight(share), loss, {}, check_two_images});
  return spec;
}

void check(const Config& config) {
  const double share = config.loss->sketch_weight;
  if (!(share > 0 && share < 1))
    fail_usage("loss.sketch_weight", "a share above 0 and below 1, the rest is the prediction's", fmt::format("{}", share),
               "0.6 is the paper's for small sets, 0.9 for large ones");
}

}  // namespace

Method visreg_method() {
  return {
      .name = "visreg",
      .summary = "VISReg: views predict their mean; terms of their own keep mean, scale and shape of a Gaussian; no teacher",
      .defaults =
          {
              .profile = "dino-v1",
              .global_scale_min = 0.3,
              .local_scale_max = 0.3,
              .local_count = 6,
              .lr = 9e-4,
              .min_lr = 9e-7,
              .weight_decay = 0.05,
              .weight_decay_end = 0.05,
              .hidden_dim = 2048,
              .out_dim = 256,
          },
      .reads = {"head.out_dim", "head.hidden_dim", "head.layers", "head.norm_output", "loss.sketch_*"},
      .teacher = TeacherPolicy::kNone,
      .make = make,
      .check = check,
  };
}

}  // namespace dinoxx
