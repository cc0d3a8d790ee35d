// SimDINOv2 (Wu et al. 2025, arXiv 2502.10385): SimDINO with DINOv2's masks, rates and shared head; at masked patches the student's
// projections agree with the teacher's. Defaults of RobinWu218/SimDINO, simdinov2/configs/simdino_config.yaml.
#include "dinoxx/loss/coding_rate.hpp"
#include "loss/loss_config.hpp"
#include "method/shared/agreement_terms.hpp"
#include "method/shared/prototypes.hpp"

namespace dinoxx {
namespace {

MethodSpec make(const Config& config) {
  MethodSpec spec = agreement_spec(config);
  set_masks(spec, config);
  if (*config.loss->patch_weight > 0) {
    const auto patches = [](const LossInputs& in) {
      return LossOutputs{.loss = patch_agreement(in.student.patch_logits, in.teacher.patch_logits, in.masks.weights, in.masks.crops)};
    };
    spec.terms.push_back({"patch_agreement", constant_weight(*config.loss->patch_weight), patches, {Need::kTeacher, Need::kMasks}});
  }
  return spec;
}

}  // namespace

Method simdinov2_method() {
  return {
      .name = "simdinov2",
      .summary = "SimDINOv2: DINOv2 without prototypes; views and masked patches agree, the coding rate keeps features apart",
      .defaults =
          {
              .profile = "dinov2-as-released",
              .global_scale_min = 0.4,
              .local_scale_max = 0.4,
              .local_count = 10,
              .mask = "dinov2",
              .lr_rule = "sqrt_1024",
              .lr = 4e-3,
              .min_lr = 1e-6,
              .weight_decay = 0.04,
              .weight_decay_end = 0.4,
              .clip = 3,
              .clip_by = "module",
              .layer_decay = 0.9,
              .patch_embed_lr = 0.2,
              .momentum = 0.9,
              .patch_weight = 1,
              .coding_eps = 0.05,
              .dinov2_groups = true,
          },
      .reads = agreement_keys({"mask.*", "loss.patch_weight"}),
      .make = make,
  };
}

}  // namespace dinoxx
