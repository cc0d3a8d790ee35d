// SimDINO (Wu et al. 2025, arXiv 2502.10385): DINO's views and teacher, no prototypes. Views agree, and the coding rate keeps the features
// apart. Defaults of RobinWu218/SimDINO, simdino/main_dino.py.
#include "dinoxx/loss/coding_rate.hpp"
#include "loss/loss_config.hpp"
#include "method/shared/configure_views.hpp"
#include "method/shared/prototypes.hpp"
#include "method/shared/two_views.hpp"

namespace dinoxx {
namespace {

MethodSpec make(const Config& config) {
  MethodSpec spec;
  configure_views(spec, config);
  spec.network.backbone = backbone_config(config);
  DinoHeadConfig head = prototype_head(config, feature_dim(spec.network.backbone));
  head.out_dim = 0;
  spec.network.head = {"head", head};
  const auto agreement = [](const LossInputs& in) {
    const at::Tensor mean = view_agreement(in.student.logits, in.teacher.logits);
    return LossOutputs{.loss = 1.0 - mean};
  };
  // of the plain mean of the two normalised features, as released: the teacher's have less noise
  const auto expansion = [eps = *config.loss->coding_eps](const LossInputs& in) {
    const at::Tensor globals = in.student.logits.narrow(0, 0, in.global_views);
    LossOutputs out;
    out.loss = -coding_rate((globals + in.teacher.logits.detach()) / 2, eps, *in.comm);
    out.metrics = {{"coding_rate", -out.loss.detach()}};
    return out;
  };
  spec.terms.push_back({"agreement", constant_weight(1), agreement, {Need::kTeacher, Need::kSeveralViews}});
  spec.terms.push_back({"coding_rate", constant_weight(*config.loss->coding_weight), expansion, {Need::kTeacher}, check_two_images});
  return spec;
}

}  // namespace

Method simdino_method() {
  return {
      .name = "simdino",
      .summary = "SimDINO: DINO without prototypes; the coding rate keeps features apart",
      .defaults =
          {
              .profile = "dino-v1",
              .global_scale_min = 0.4,
              .local_scale_max = 0.4,
              .local_count = 8,
              .lr = 5e-4,
              .min_lr = 1e-6,
              .weight_decay = 0.04,
              .weight_decay_end = 0.4,
              .clip = 3,
              .momentum = 0.996,
          },
      .reads = {"head.hidden_dim", "head.bottleneck_dim", "head.layers", "head.batch_norm", "teacher.momentum", "teacher.momentum_end",
                "teacher.hold_backbone", "loss.coding_*"},
      .make = make,
  };
}

}  // namespace dinoxx
