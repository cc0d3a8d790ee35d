#pragma once
#include <cstdint>

namespace dinoxx {

/// Linear from `start` to `base` over `warmup` steps, then half a cosine to `final` at step `total` (facebookresearch/dino utils.cosine_scheduler: value of step i of the
/// remaining n is final + (base - final) (1 + cos(pi i / n)) / 2; linspace with both ends for the warm-up). A pure function of the step.
struct CosineSchedule {
  double base = 0, final = 0, start = 0;
  int64_t warmup = 0, total = 0;
  double at(int64_t step) const;  ///< constant `final` from `total` on
};

/// Linear from `start` to `end` over `warmup_epochs` (both ends included), then constant; changes per epoch (DINO v1 teacher temperature).
struct TemperatureSchedule {
  double start = 0.04, end = 0.04;
  int64_t warmup_epochs = 0;
  double at(int64_t epoch) const;
};

}  // namespace dinoxx
