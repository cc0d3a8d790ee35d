// FastSiam (Pototzky, Sultan and Schmidt-Thieme 2022): SimSiam (Chen and He 2021) with several targets. Each view predicts the mean of the
// other views' projections by the same network; no average teacher, no negatives. Heads, rates and decay are SimSiam's; the predictor's
// rate falls as all others do, where SimSiam keeps it.
#include "loss/mean_target.hpp"
#include "method/shared/two_views.hpp"
#include "model/heads/head_config.hpp"

namespace dinoxx {
namespace {

MethodSpec make(const Config& config) {
  MethodSpec spec = two_view_spec(config);
  auto& projector = std::get<MlpHeadConfig>(spec.network.head.config);
  projector.layers = static_cast<int>(*config.head->layers);
  projector.norm_output = true;
  spec.network.predictor = {"predictor",
                            MlpHeadConfig{projector.out_dim, static_cast<int>(*config.head->predictor_hidden_dim), projector.out_dim}};
  const auto loss = [](const LossInputs& in) { return LossOutputs{.loss = mean_target_loss(in.student.logits, in.student.projections)}; };
  spec.terms.push_back({"fastsiam", constant_weight(1), loss, {Need::kSeveralViews, Need::kProjections}, check_two_images});
  return spec;
}

}  // namespace

Method fastsiam_method() {
  return {
      .name = "fastsiam",
      .summary = "FastSiam: each view predicts the mean of the other views' projections; no average teacher, no negatives",
      .defaults =
          {
              .profile = "swav",
              .global_scale_min = 0.2,
              .local_scale_min = 0.2,
              .local_scale_max = 1,
              .local_count = 2,
              .optimizer = "sgd",
              .lr = 0.05,
              .weight_decay = 1e-4,
              .weight_decay_end = 1e-4,
              .hidden_dim = 2048,
              .predictor_hidden_dim = 512,
              .out_dim = 2048,
          },
      .reads = {"head.out_dim", "head.hidden_dim", "head.layers", "head.predictor_hidden_dim"},
      .teacher = TeacherPolicy::kNone,
      .make = make,
  };
}

}  // namespace dinoxx
