#pragma once
#include "dinoxx/core/config.hpp"
#include "dinoxx/method/method.hpp"
#include "dinoxx/optim/adamw.hpp"
#include "dinoxx/optim/schedule.hpp"

namespace dinoxx {

/// What the modules below are told, from a resolved configuration (resolve_config).
AdamWConfig adamw_config(const Config& config);
/// float32, or bfloat16 for train.precision = bf16.
at::ScalarType compute_type(const Config& config);

/// Every schedule of a run: values are functions of the step and of the position in the data alone. Facebookresearch/dino main_dino.py,
/// with epoch = floor(position / images).
class Schedules {
 public:
  Schedules(const Config& config, uint64_t images);
  int64_t total_steps() const { return total_; }
  StepValues at(int64_t step, uint64_t position) const;

 private:
  CosineSchedule lr_, weight_decay_, momentum_;
  TemperatureSchedule temperature_;
  Duration freeze_;
  uint64_t images_;
  int64_t total_;
};

}  // namespace dinoxx
