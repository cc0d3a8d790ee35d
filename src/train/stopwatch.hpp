#pragma once
#include <chrono>

namespace dinoxx {

/// Wall-clock figures between two log lines, with the time of evaluation and saving left out.
class Stopwatch {
 public:
  using Clock = std::chrono::steady_clock;
  void pause() { paused_at_ = Clock::now(); }
  void resume() { begin_ += Clock::now() - paused_at_; }
  double seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }
  void restart() { begin_ = Clock::now(); }

 private:
  Clock::time_point begin_ = Clock::now(), paused_at_;
};

}  // namespace dinoxx
