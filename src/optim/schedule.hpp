#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace dinoxx {

/// Linear from `start` to `base` over `warmup` steps, then half a cosine to `final` at step `total` (facebookresearch/dino
/// utils.cosine_scheduler: value of step i of the remaining n is final + (base - final) (1 + cos(pi i / n)) / 2; linspace with both ends
/// for the warm-up). A pure function of the step.
struct CosineSchedule {
  double base = 0, final = 0, start = 0;
  int64_t warmup = 0, total = 0;
  double at(int64_t step) const;  ///< constant `final` from `total` on
};

/// Linear from `start` to `end` over `warmup` (both ends included), then constant. A teacher temperature: per epoch in DINO v1 and iBOT,
/// per step in DINOv2 and DINOv3, whose warm-up of n epochs is n times the steps of an epoch.
struct TemperatureSchedule {
  double start = 0.04, end = 0.04;
  int64_t warmup = 0;
  double at(int64_t epoch_or_step) const;
};

/// DINOv3's schedules: linear from `start` towards `peak`, which is reached at step `warmup`; half a cosine to `end`, reached at step
/// warmup + cosine - 1; constant `end` from there. A constant schedule has peak = end and no warm-up. A cosine over what remains has cosine
/// = total - warmup.
struct PhaseSchedule {
  double start = 0, peak = 0, end = 0;
  int64_t warmup = 0, cosine = 0;
  double at(int64_t step) const;
};

/// How a learning rate follows the global batch.
enum class LrRule {
  kNone,
  kLinear256,  ///< base * batch / 256 (dino, ibot, byol, simclr; dinov3's linear_wrt_256)
  kSqrt1024,   ///< base * sqrt(batch / 1024) (dinov2)
  k4Sqrt1024,  ///< base * 4 * sqrt(batch / 1024) (dinov3)
};
/// "none", "linear_256", "sqrt_1024", "4sqrt_1024"; UsageError with the nearest name for an unknown one.
LrRule lr_rule(const std::string& name);
const std::vector<std::string>& lr_rule_names();
/// Of the peak. DINO v1 and DINOv2 do not scale the final rate, DINOv3 scales it too, none the start. UsageError for a batch below 1.
double scaled_lr(LrRule rule, double base, int64_t batch);

}  // namespace dinoxx
