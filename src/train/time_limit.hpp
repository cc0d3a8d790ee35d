#pragma once
#include <algorithm>

#include "base/machine.hpp"

namespace dinoxx {

/// The time that this process may take (--max-time), from its start on. Rank 0's clock decides; its vote travels with the step's figures.
class TimeLimit {
 public:
  explicit TimeLimit(double max_seconds) : max_seconds_(max_seconds) {}  ///< 0: no limit
  /// Whether the step to come has to be the last. Leaves room for it, what may fall due behind it, the next step, a checkpoint and the end
  /// of the process: seconds that the last of each took, or that it is assumed to take.
  bool is_up(double step, double evaluation, double saving) const {
    return max_seconds_ > 0 && process_seconds() + 2 * step + evaluation + time_to_end(saving) >= max_seconds_;
  }
  /// Whether what goes on now has to end for a checkpoint to be saved in time.
  bool must_save(double saving) const { return is_up(0, 0, saving); }
  bool is_set() const { return max_seconds_ > 0; }

 private:
  // The report, the other ranks' end: about a second, of a short limit less.
  double time_to_end(double saving) const { return 2.5 * saving + std::min(1.0, max_seconds_ / 20); }

  double max_seconds_;
};

}  // namespace dinoxx
