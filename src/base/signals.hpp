#pragma once

namespace dinoxx {

/// While it lives, SIGUSR1, SIGTERM, SIGINT, SIGHUP (the terminal closed) and SIGPIPE (who read the output is gone) only set a flag: the
/// work saves at the next occasion and stops. A second SIGINT ends the process at once. What was written to a terminal or pipe that is gone
/// goes nowhere from then on. A SIGHUP that the caller ignores (nohup) stays ignored. One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// The signal's name, or nullptr as long as none came.
  const char* received() const;
};

}  // namespace dinoxx
