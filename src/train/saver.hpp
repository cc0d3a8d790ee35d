#pragma once
#include "calendar.hpp"
#include "stopwatch.hpp"
#include "training.hpp"

namespace dinoxx {

/// Saves checkpoints of the run and removes those that need not stay.
class Saver {
 public:
  Saver(Training& training, const Calendar& calendar, RunHistory& history, RunLog& log, Stopwatch& watch)
      : training_(training), calendar_(calendar), history_(history), log_(log), watch_(watch) {}
  /// The state as it is, unless this step is saved already. Collective; errors are agreed.
  void save();
  /// That a checkpoint takes so long, until one was saved.
  void assume(double seconds) { seconds_ = seconds; }
  double seconds() const { return seconds_; }  ///< that the last one took, or the first is assumed to take

 private:
  Training& training_;
  const Calendar& calendar_;
  RunHistory& history_;
  RunLog& log_;
  Stopwatch& watch_;
  double seconds_ = 0;
};

}  // namespace dinoxx
