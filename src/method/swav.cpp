// SwAV (Caron et al. 2020, arXiv 2006.09882): each view predicts the code of another one, its assignment to prototypes by Sinkhorn-Knopp
// over the batch. No teacher, no queue. Defaults of facebookresearch/swav, main_swav.py, whose rate ends at a thousandth
// of its peak.
#include "method/shared/configure_views.hpp"
#include "method/shared/prototype_terms.hpp"

namespace dinoxx {
namespace {

MethodSpec make(const Config& config) {
  MethodSpec spec;
  configure_views(spec, config);
  spec.network.backbone = backbone_config(config);
  spec.network.head = {"head", prototype_head(config, feature_dim(spec.network.backbone))};
  spec.terms.push_back(swapped_term(config));
  return spec;
}

}  // namespace

Method swav_method() {
  return {
      .name = "swav",
      .summary = "SwAV: views predict each other's codes, balanced over prototypes; multi-crop, no teacher",
      .defaults =
          {
              .profile = "swav",
              .global_scale_min = 0.14,
              .local_scale_max = 0.14,
              .local_count = 6,
              .optimizer = "lars",
              .lr = 0.3,
              .weight_decay = 1e-6,
              .weight_decay_end = 1e-6,
              .centring = "sinkhorn",
              .hidden_dim = 2048,
              .bottleneck_dim = 128,
              .layers = 2,
              .batch_norm = true,
              .out_dim = 3000,
          },
      .reads = {"head.out_dim", "head.hidden_dim", "head.bottleneck_dim", "head.layers", "head.batch_norm", "optim.freeze_last_layer",
                "loss.student_temp", "loss.sinkhorn_iterations", "loss.codes_temp"},
      .teacher = TeacherPolicy::kNone,
      .make = make,
  };
}

}  // namespace dinoxx
