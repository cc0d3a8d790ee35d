// Distillation from a frozen teacher as DINOv2's and DINOv3's smaller models were made. Defaults are DINOv2's, with the centring of the
// released recipes and without KoLeo.
#include "dinoxx/base/error.hpp"
#include "method/shared/prototypes.hpp"
#include "teacher_config.hpp"

namespace dinoxx {
namespace {

void check(const Config& config) {
  if (config.teacher->distill.empty())
    fail_usage("teacher.distill", "the frozen teacher for train.method = distill", "nothing", "Name a run folder or a teacher.safetensors");
}

}  // namespace

Method distill_method() {
  return {
      .name = "distill",
      .summary = "a frozen, larger teacher; no masks for the student",
      .defaults =
          {
              .profile = "dinov2-as-released",
              .global_scale_min = 0.32,
              .local_scale_max = 0.32,
              .local_count = 8,
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
              .momentum = 0.992,
              .temp_changes = "step",
              .centring = "sinkhorn",
              .patch_weight = 1,
              .norm_last_layer = false,
              .dinov2_groups = true,
          },
      .reads = prototype_keys({"teacher.distill", "teacher.facts"}),
      .teacher = TeacherPolicy::kFrozen,
      .student_sees_all = true,
      .make = [](const Config& config) { return prototype_spec(config); },
      .check = check,
  };
}

}  // namespace dinoxx
