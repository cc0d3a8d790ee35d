// DINO (Caron et al. 2021), facebookresearch/dino; defaults as main_dino.py has them.
#include "method/shared/prototypes.hpp"

namespace dinoxx {

Method dino_method() {
  return {
      .name = "dino",
      .summary = "DINO v1: cross-entropy between views with centring, multi-crop, EMA teacher",
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
      .reads = prototype_keys(),
      .make = [](const Config& config) { return prototype_spec(config); },
  };
}

}  // namespace dinoxx
