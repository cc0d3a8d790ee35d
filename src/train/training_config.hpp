#pragma once
#include <cstdint>
#include <string>

#include "config/auto.hpp"
#include "config/duration.hpp"

namespace dinoxx {

/// Keys of the section [train].
struct TrainingConfig {
  std::string method, precision, gradients, device, attention;
  Duration length, extend, extend_warmup;
  int64_t batch_size = 0, accumulate = 0, seed = 0, log_every = 0, check_every = 0, max_skipped = 0;
  double bucket_mb = 0;
  bool fused_kernels = false, tf32 = false, stop_on_collapse = false;
  Auto<int64_t> threads;
  bool operator==(const TrainingConfig&) const = default;
};

}  // namespace dinoxx
