#pragma once
#include <optional>
#include <variant>

#include "config/config.hpp"
#include "method/method.hpp"
#include "optim/optimizer.hpp"
#include "optim/schedule.hpp"

namespace dinoxx {

/// What the modules below are told, from a resolved configuration (resolve_config).
OptimizerConfig optimizer_config(const Config& config);
/// Rules for the segments in a step that freezes the last layer, or does not.
RuleOptions rule_options(const Config& config, bool freeze_last_layer);
/// What learns of a network that goes on from other weights ([init]); nothing where all of it does all the time.
std::optional<Thaw> thaw_of(const Config& config);
/// float32, or bfloat16 for train.precision = bf16.
at::ScalarType compute_type(const Config& config);

/// Every schedule of a run: values are functions of the step and of the position in the data alone, with epoch = floor(position / images).
class Schedules {
 public:
  Schedules(const Config& config, uint64_t images);
  int64_t total_steps() const { return total_; }
  StepValues at(int64_t step, uint64_t position) const;

 private:
  double rate(int64_t step) const;
  void extend(int64_t step, StepValues& values) const;
  double gram_share(int64_t step) const;  ///< of the ramp, in [0, 1]
  bool refreshes_gram(int64_t step) const;

  std::variant<CosineSchedule, PhaseSchedule> lr_;  // the latter for optim.decay
  CosineSchedule weight_decay_, momentum_;
  TemperatureSchedule temperature_, patch_temperature_;
  bool temperature_by_step_;
  Duration freeze_;
  int64_t freeze_steps_;
  struct Gram {
    double weight = 0, local_weight = 1, local_weight_end = 1;
    int64_t start = 0, ramp = 0, first = 0, every = 0, updates = 0;
    bool own_teacher = false, from_file = false;
  } gram_;
  struct Start {
    int64_t heads_only = 0, unfreeze = 0, hold_backbone = 0;
  } start_;
  struct Extension {
    int64_t begin = 0;  // train.length
    bool again = false;
    PhaseSchedule lr;
    CosineSchedule momentum;
  } extension_;
  uint64_t images_;
  int64_t total_;
  int64_t guide_ramp_ = 0;
};

}  // namespace dinoxx
