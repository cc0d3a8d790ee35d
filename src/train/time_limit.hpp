#pragma once
#include "stopwatch.hpp"

namespace dinoxx {

/// The time that this process may take (--max-time), from the construction of this on. Rank 0's clock decides; its vote travels with the
/// step's figures.
class TimeLimit {
 public:
  explicit TimeLimit(double max_seconds) : max_seconds_(max_seconds) {}  ///< 0: no limit
  /// Whether the step to come has to be the last. Leaves room for it, what may fall due behind it, the next step and a checkpoint: seconds
  /// that the last of each took.
  bool is_up(double step, double evaluation, double saving) const {
    return max_seconds_ > 0 && since_start_.seconds() + 2 * step + evaluation + 2.5 * saving >= max_seconds_;
  }

 private:
  double max_seconds_;
  Stopwatch since_start_;
};

}  // namespace dinoxx
