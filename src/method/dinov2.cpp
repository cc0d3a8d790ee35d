// DINOv2 (Oquab et al. 2023), facebookresearch/dinov2; defaults as ssl_default_config.yaml has them.
#include "method/shared/prototypes.hpp"

namespace dinoxx {

Method dinov2_method() {
  return {
      .name = "dinov2",
      .summary = "DINOv2: iBOT with stratified masks, KoLeo, layer-wise rates",
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
              .patch_weight = 1,
              .koleo_weight = 0.1,
              .norm_last_layer = false,
              .dinov2_groups = true,
          },
      .reads = prototype_keys(),
      .make = [](const Config& config) { return prototype_spec(config); },
  };
}

}  // namespace dinoxx
