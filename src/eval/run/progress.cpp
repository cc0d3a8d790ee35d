#include "progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/progress_line.hpp"

namespace dinoxx::eval {

using Clock = std::chrono::steady_clock;

struct ProgressState {
  std::mutex mutex;
  std::condition_variable end;
  bool ended = false;
  std::string name;
  int64_t parts = 0, done = 0, images = 0;
  Clock::time_point begin = Clock::now();
  std::thread reporter;
};

namespace {

thread_local ProgressState* current = nullptr;

std::string line_of(const ProgressState& state) {
  const double seconds = std::chrono::duration<double>(Clock::now() - state.begin).count();
  const double share = state.parts > 0 ? static_cast<double>(state.done) / static_cast<double>(state.parts) : 0;
  const std::string left = time_left(share, 1, seconds);
  if (state.images > 0) {
    const double images = share * static_cast<double>(state.images);
    return fmt::format("{}: {:.0f} of {} images, {:.1f} images/s{}", state.name, images, state.images, images / seconds, left);
  }
  return state.parts == 0 ? state.name : fmt::format("{}: {} of {} parts{}", state.name, state.done, state.parts, left);
}

}  // namespace

ProgressScope::ProgressScope(std::function<void(const std::string&)> show, double seconds) : outer_(current) {
  if (!show) return;
  state_ = std::make_unique<ProgressState>();
  current = state_.get();
  state_->reporter = std::thread([state = state_.get(), show = std::move(show), seconds] {
    std::unique_lock lock(state->mutex);
    while (!state->end.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return state->ended; })) {
      if (state->name.empty()) continue;
      const std::string line = line_of(*state);
      lock.unlock();
      show(line);
      lock.lock();
    }
  });
}

ProgressScope::~ProgressScope() {
  if (!state_) return;
  {
    const std::lock_guard lock(state_->mutex);
    state_->ended = true;
  }
  state_->end.notify_all();
  state_->reporter.join();
  current = outer_;
}

void progress_phase(const std::string& name, int64_t parts, int64_t images) {
  if (!current) return;
  const std::lock_guard lock(current->mutex);
  current->name = name;
  current->parts = parts;
  current->images = images;
  current->done = 0;
  current->begin = Clock::now();
}

ProgressState* current_progress() {
  return current;
}

void expect_parts(ProgressState* state, int64_t parts) {
  if (!state) return;
  const std::lock_guard lock(state->mutex);
  if (state->images > 0) return;  // the phase knows how many there are in all its lists
  state->parts = parts;
  state->done = 0;
  state->begin = Clock::now();
}

void part_is_done(ProgressState* state) {
  if (!state) return;
  const std::lock_guard lock(state->mutex);
  state->done = std::min(state->done + 1, state->parts);
}

}  // namespace dinoxx::eval
