#include "progress_line.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include "machine.hpp"

namespace dinoxx {

std::string time_left(double done, double total, double seconds) {
  return done > 0 ? fmt::format(", {} left", human_time(seconds * (total - done) / done)) : "";
}

// mpirun gives each rank a terminal as standard output even when its own goes to a file; standard error tells.
ProgressLine::ProgressLine(std::FILE* stream, std::string prefix)
    : stream_(stream),
      prefix_(std::move(prefix)),
      terminal_(prefix_.empty() && ::isatty(STDERR_FILENO) == 1 && ::isatty(::fileno(stream)) == 1) {}

// A reader that is gone and a full disk behind the stream are no errors of the work that is told about.
void ProgressLine::put(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stream_);
}

void ProgressLine::show(const std::string& text, bool last) {
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  if (!last && now < next_) return;
  next_ = now + std::chrono::milliseconds(static_cast<int64_t>(1000 * interval()));
  if (terminal_) {
    put(fmt::format("\r{:<{}}{}", text, shown_, last ? "\n" : ""));
    shown_ = last ? 0 : text.size();
  } else {
    put(fmt::format("{}{}\n", prefix_, text));
  }
  std::fflush(stream_);
}

void ProgressLine::show_images(const std::string& name, int64_t done, int64_t total, const std::string& more) {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count(), n = static_cast<double>(done);
  if (seconds < interval()) return;  // short work says nothing
  show(fmt::format("{} {} of {} images{}, {:.1f} images/s{}", name, done, total, more, n / seconds,
                   time_left(n, static_cast<double>(total), seconds)),
       terminal_ && done == total);
}

void ProgressLine::say(const std::string& text) {
  const std::lock_guard lock(mutex_);
  wipe();
  put(fmt::format("{}{}\n", prefix_, text));
  std::fflush(stream_);
}

void ProgressLine::clear() {
  const std::lock_guard lock(mutex_);
  wipe();
  std::fflush(stream_);
}

void ProgressLine::wipe() {
  if (shown_ > 0) put(fmt::format("\r{:<{}}\r", "", shown_));
  shown_ = 0;
}

}  // namespace dinoxx
