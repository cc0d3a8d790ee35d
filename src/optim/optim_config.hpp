#pragma once
#include <string>

#include "config/auto.hpp"
#include "config/duration.hpp"

namespace dinoxx {

/// Keys of the section [optim].
struct OptimConfig {
  std::string name, lr_rule, schedule, clip_by;
  Auto<double> lr, min_lr, weight_decay, weight_decay_end, clip, layer_decay, patch_embed_lr;
  double beta1 = 0, beta2 = 0, momentum = 0, trust = 0;
  bool trust_clip = false;
  Auto<Duration> warmup, freeze_last_layer;
  Duration decay;
  bool operator==(const OptimConfig&) const = default;
};

}  // namespace dinoxx
