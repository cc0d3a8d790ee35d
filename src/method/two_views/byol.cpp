// BYOL (Grill et al. 2020): projector, predictor, EMA teacher, symmetric cosine loss. Defaults of its paper, LARS with weight decay as the
// published runs in solo-learn.
#include "dinoxx/loss/byol_loss.hpp"
#include "method/shared/two_views.hpp"
#include "model/heads/head_config.hpp"

namespace dinoxx {
namespace {

MethodSpec make(const Config& config) {
  MethodSpec spec = two_view_spec(config);
  const int width = static_cast<int>(*config.head->out_dim);
  spec.network.predictor = {"predictor", MlpHeadConfig{width, static_cast<int>(*config.head->predictor_hidden_dim), width}};
  const auto loss = [](const LossInputs& in) {
    LossOutputs out;
    out.loss = byol_loss(in.student.logits, in.teacher.logits);
    return out;
  };
  // the batch norms of both heads are taken over the other images
  spec.terms.push_back({"byol", constant_weight(1), loss, {Need::kTeacher, Need::kTwoViews, Need::kPredictor}, check_two_images});
  return spec;
}

}  // namespace

Method byol_method() {
  return {
      .name = "byol",
      .summary = "BYOL: predicts the teacher's projection of the other view",
      .defaults =
          {
              .profile = "byol",
              .global_scale_min = 0.08,
              .local_scale_max = 0.08,
              .optimizer = "lars",
              .lr = 0.2,
              .weight_decay = 1e-5,
              .weight_decay_end = 1e-5,
              .momentum = 0.996,
              .hidden_dim = 4096,
              .out_dim = 256,
          },
      .reads = {"head.out_dim", "head.hidden_dim", "head.predictor_hidden_dim", "teacher.momentum", "teacher.momentum_end",
                "teacher.hold_backbone"},
      .make = make,
  };
}

}  // namespace dinoxx
