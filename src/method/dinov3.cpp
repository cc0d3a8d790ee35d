// DINOv3 (Simeoni et al. 2025), facebookresearch/dinov3; defaults as vitl_im1k_lin834.yaml has them.
#include "method/shared/prototypes.hpp"

namespace dinoxx {

Method dinov3_method() {
  return {
      .name = "dinov3",
      .summary = "DINOv3: DINOv2 with two heads, Sinkhorn-Knopp and Gram anchoring",
      .defaults =
          {
              .profile = "dinov3",
              .global_scale_min = 0.32,
              .local_scale_max = 0.32,
              .local_count = 8,
              .mask = "dinov3",
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
              .koleo_weight = 0.1,
              .shared_head = false,
              .norm_last_layer = false,
              .weight_norm = false,
              .dinov2_groups = true,
          },
      .reads = prototype_keys(),
      .make = [](const Config& config) { return prototype_spec(config); },
  };
}

}  // namespace dinoxx
