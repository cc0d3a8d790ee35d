#include "progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace dinoxx {

// mpirun gives each rank a terminal as standard output even when its own goes to a file; standard error tells.
ProgressLine::ProgressLine(std::string prefix)
    : prefix_(std::move(prefix)), terminal_(prefix_.empty() && ::isatty(STDOUT_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1) {}

void ProgressLine::show(const std::string& text, bool last) {
  const auto now = std::chrono::steady_clock::now();
  if (!last && now < next_) return;
  if (terminal_) {
    fmt::print("\r{:<{}}{}", text, shown_, last ? "\n" : "");
    shown_ = last ? 0 : text.size();
    next_ = now + std::chrono::milliseconds(200);
  } else {
    fmt::print("{}{}\n", prefix_, text);
    next_ = now + std::chrono::seconds(10);
  }
  std::fflush(stdout);
}

void ProgressLine::say(const std::string& text) {
  if (terminal_ && shown_ > 0) fmt::print("\r{:<{}}\r", "", shown_);
  shown_ = 0;
  fmt::print("{}{}\n", prefix_, text);
  std::fflush(stdout);
}

}  // namespace dinoxx
