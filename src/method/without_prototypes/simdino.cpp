// SimDINO (Wu et al. 2025, arXiv 2502.10385): DINO's views and teacher, no prototypes. Views agree, and the coding rate keeps the features
// apart. Defaults of RobinWu218/SimDINO, simdino/main_dino.py.
#include "method/shared/agreement_terms.hpp"

namespace dinoxx {

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
      .reads = agreement_keys(),
      .make = agreement_spec,
  };
}

}  // namespace dinoxx
