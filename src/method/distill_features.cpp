// Distillation of features: the student learns to give, through a small projector, the features and patches that a frozen backbone without
// heads gives for the same crops (AM-RADIO, Ranzinger et al. 2024, for cosines of both; SEED, Fang et al. 2021, for similarities).
#include <ATen/ATen.h>

#include "data_pipeline/augment/views_config.hpp"
#include "dinoxx/base/error.hpp"
#include "dinoxx/loss/match.hpp"
#include "loss/loss_config.hpp"
#include "method/shared/configure_views.hpp"
#include "method/shared/token_maps.hpp"
#include "methods.hpp"
#include "model/heads/head_config.hpp"
#include "teacher_config.hpp"

namespace dinoxx {
namespace {

constexpr double kStudentTemp = 0.2, kTeacherTemp = 0.01;  // SEED, section 4.1

HeadPlan projector(const std::string& name, const Config& config, int in_dim) {
  DinoHeadConfig head;
  head.in_dim = in_dim;
  head.hidden_dim = static_cast<int>(*config.head->hidden_dim);
  head.bottleneck_dim = static_cast<int>(*config.head->out_dim);  // the teacher's width
  head.layers = 2;
  head.out_dim = 0;
  return {name, head};
}

MethodSpec make(const Config& config) {
  MethodSpec spec;
  configure_views(spec, config);
  spec.network.backbone = backbone_config(config);
  const int width = feature_dim(spec.network.backbone);
  spec.network.head = projector("projector", config, width);
  const auto features = [by_batch = config.teacher->match == "batch"](const LossInputs& in) {
    const at::Tensor student = in.student.logits.narrow(0, 0, in.global_views);
    LossOutputs out;
    if (by_batch)
      out.loss = match_batch(student.flatten(0, 1), in.teacher.features.flatten(0, 1), kStudentTemp, kTeacherTemp, *in.comm);
    else
      out.loss = match_cosine(student, in.teacher.features);
    return out;
  };
  spec.terms.push_back({"feature", constant_weight(1), features, {Need::kTeacher}});
  if (*config.loss->patch_weight > 0) {
    spec.network.patch_head = projector("patch_projector", config, width);
    const auto patches = [](const LossInputs& in) {
      LossOutputs out;
      const at::Tensor& target = in.teacher.patches;
      const at::Tensor student = in.student.patch_logits.unflatten(0, {target.size(0), -1});
      out.loss = match_cosine(resampled_tokens(student, target.size(1)), target);
      return out;
    };
    spec.terms.push_back({"patches",
                          constant_weight(*config.loss->patch_weight),
                          patches,
                          {Need::kTeacher, Need::kTeacherPatches, Need::kPatchProjections}});
  }
  return spec;
}

void check(const Config& config) {
  if (config.teacher->distill.empty())
    fail_usage("teacher.distill", "the frozen teacher for train.method = distill_features", "nothing",
               "Name a weight file or a run folder");
  if (*config.views->local_count > 0)
    fail_usage("views.local_count", "0: student and teacher are compared on what both see", std::to_string(*config.views->local_count),
               "Leave it out");
}

}  // namespace

Method distill_features_method() {
  return {
      .name = "distill_features",
      .summary = "features and patches of any frozen backbone, without heads and prototypes",
      .defaults =
          {
              .profile = "dino-v1",
              .global_scale_min = 0.4,
              .local_scale_max = 0.4,
              .lr = 1e-3,
              .min_lr = 1e-6,
              .weight_decay = 0.05,
              .weight_decay_end = 0.05,
              .clip = 3,
              .momentum = 0.996,
              .patch_weight = 1,
              .hidden_dim = 1024,
          },
      .reads = {"head.out_dim", "head.hidden_dim", "teacher.momentum", "teacher.momentum_end", "teacher.hold_backbone", "teacher.distill",
                "teacher.facts", "teacher.match", "loss.patch_weight"},
      .teacher = TeacherPolicy::kFrozen,
      .bare_teacher = true,
      .make = make,
      .check = check,
  };
}

}  // namespace dinoxx
