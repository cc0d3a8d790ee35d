#pragma once

namespace dinoxx {

/// While it lives, SIGUSR1, SIGTERM and SIGINT only set a flag: the run saves at the next step and stops. A second SIGINT ends the process
/// at once. One at a time.
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
