#pragma once
#include <chrono>
#include <cstdint>
#include <string>

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

/// The line that a person watches: rewritten in place on a terminal, one line every few seconds in a log.
class ProgressLine {
 public:
  /// `prefix`: in front of every line, where several runs share a terminal; then nothing is rewritten in place.
  explicit ProgressLine(std::string prefix = "");
  void show(const std::string& text, bool last = false);
  /// A message of its own, between progress lines.
  void say(const std::string& text);

 private:
  std::string prefix_;
  bool terminal_;
  size_t shown_ = 0;
  std::chrono::steady_clock::time_point next_{};
};

}  // namespace dinoxx
