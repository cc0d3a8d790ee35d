#pragma once
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string>

namespace dinoxx {

/// ", 2m03s left" for work of which `done` of `total` parts took `seconds`; empty before the first part is done.
std::string time_left(double done, double total, double seconds);

/// The line that a person watches while work goes on: rewritten in place on a terminal, a line of its own every few seconds in a file. May
/// be used from several threads. A stream that takes nothing any more is no error. What stands on the terminal at the end is wiped out.
class ProgressLine {
 public:
  /// `prefix`: in front of every line, where several runs share a terminal; then nothing is rewritten in place.
  explicit ProgressLine(std::FILE* stream, std::string prefix = "");
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Shows `text` unless the last one is younger than interval(). `last`: in any case, and the line stays.
  void show(const std::string& text, bool last = false);
  /// "NAME 10 of 40 images, 12.3 images/s, 2s left"; the last one stays on a terminal and is not shown in a file. `more`: behind the
  /// counts.
  void show_images(const std::string& name, int64_t done, int64_t total, const std::string& more = "");
  /// A message of its own, between progress lines.
  void say(const std::string& text);
  void clear();
  /// Seconds between two lines.
  double interval() const { return terminal_ ? 0.2 : 10.0; }

 private:
  using Clock = std::chrono::steady_clock;
  void put(const std::string& text);
  void wipe();

  std::mutex mutex_;
  std::FILE* stream_;
  std::string prefix_;
  bool terminal_;
  size_t shown_ = 0;  // columns of the line that stands on the terminal
  Clock::time_point start_ = Clock::now(), next_{};
};

}  // namespace dinoxx
