#pragma once
#include <cstdint>

#include "config/config.hpp"

namespace dinoxx {

/// When something of a run falls due. Every answer is a function of the step alone (the first is 1), so that a resumed run keeps the rhythm
/// and all ranks agree.
class Calendar {
 public:
  /// `config` resolved, `images` of an epoch. `step` and `position`: where the run goes on; with another batch before, epochs and images
  /// count from there.
  Calendar(const Config& config, uint64_t images, int64_t total_steps, int64_t step = 0, uint64_t position = 0);

  int64_t total_steps() const { return total_; }
  bool ends_with(int64_t step) const { return step >= total_; }

  bool logs_after(int64_t step) const;            ///< each train.log_every steps, and the last
  bool compares_ranks_after(int64_t step) const;  ///< each train.check_every steps; 0: never
  bool evaluates_after(int64_t step) const;       ///< each eval.every, and the last; 0: where the run began with other weights
  bool saves_after(int64_t step) const;           ///< each checkpoint.every and checkpoint.keep_every, and the last
  bool keeps(int64_t step) const;                 ///< its checkpoint stays when others are removed: checkpoint.keep_every
  /// How many checkpoints are saved behind `step`, those that stay for ever left out, but not more than `most`.
  int64_t saves_until_end(int64_t step, int64_t most) const;
  int64_t kept_until_end(int64_t step) const;  ///< about how many behind `step` stay for ever
  bool warms_up(int64_t step) const;           ///< the learning rate of `step` is one of the warm-up

 private:
  bool period_ends(const Duration& every, int64_t step) const;
  int64_t images_after(int64_t step) const;

  Duration evaluation_, checkpoint_, keep_;
  bool other_weights_;
  int64_t log_every_, check_every_, batch_, warmup_, total_, first_step_, first_position_;
  uint64_t images_;
};

}  // namespace dinoxx
