// iBOT (Zhou et al. 2022), bytedance/ibot; defaults of its README's ViT-S.
#include "data_pipeline/augment/mask_config.hpp"
#include "dinoxx/base/error.hpp"
#include "loss/loss_config.hpp"
#include "method/shared/prototypes.hpp"
#include "model/model_config.hpp"

namespace dinoxx {
namespace {

void check(const Config& config) {
  if (*config.loss->patch_weight == 0)
    fail_usage("loss.patch_weight", "more than 0 for train.method = ibot, and masks on a vision transformer",
               fmt::format("0 for {} with mask.scheme = {}", config.model->arch, config.mask->scheme),
               "Give it a weight, or set train.method = dino, which is iBOT without it");
}

}  // namespace

Method ibot_method() {
  return {
      .name = "ibot",
      .summary = "iBOT: DINO v1 and the same loss at masked patches",
      .defaults =
          {
              .profile = "dino-v1",
              .global_scale_min = 0.25,
              .local_scale_max = 0.25,
              .local_count = 10,
              .mask = "ibot-block",
              .lr = 5e-4,
              .min_lr = 1e-6,
              .weight_decay = 0.04,
              .weight_decay_end = 0.4,
              .clip = 3,
              .momentum = 0.996,
              .patch_weight = 1,
              .norm_last_layer = false,
          },
      .reads = prototype_keys(),
      .make = [](const Config& config) { return prototype_spec(config, PatchCentre::kAll); },
      .check = check,
  };
}

}  // namespace dinoxx
