#include "stage_watch.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "base/machine.hpp"

namespace dinoxx::doctor {

StageWatch::StageWatch(int rank, AtLimit at_limit) : rank_(rank), at_limit_(at_limit), thread_([this] { watch(); }) {}

StageWatch::~StageWatch() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void StageWatch::begin(std::string stage, double seconds) {
  {
    const std::lock_guard lock(mutex_);
    stage_ = std::move(stage);
    seconds_ = seconds;
    end_ = std::chrono::steady_clock::now() +
           std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds));
  }
  changed_.notify_all();
}

void StageWatch::watch() {
  std::unique_lock lock(mutex_);
  while (!over_) {
    const auto now = std::chrono::steady_clock::now();
    if (seconds_ > 0 && now >= end_ && at_limit_ == AtLimit::kSay) {
      fmt::print(
          stderr,
          "dinoxx: rank {} on host {}: has waited {:.0f} s for the other ranks in \"{}\", and goes on to wait. Look at the hosts of the "
          "ranks that do not say this; \"dinoxx doctor\" in the place of \"dinoxx train\" looks at what joins them.\n",
          rank_, host_name(), seconds_, stage_);
      std::fflush(nullptr);
      seconds_ = 0;
    }
    if (seconds_ > 0 && now >= end_) {
      fmt::print(
          stderr,
          "dinoxx: rank {} on host {}: expected the other ranks in \"{}\" within {:.0f} s, found some missing. Look at the hosts of the "
          "ranks that do not say this: do they run, and do they reach this one on the interface that MPI takes (mpirun --mca "
          "btl_tcp_if_include)?\n",
          rank_, host_name(), stage_, seconds_);
      std::fflush(nullptr);
      std::this_thread::sleep_for(std::chrono::seconds(2));  // a launcher ends all ranks with the first: let each say its line
      std::_Exit(1);
    }
    changed_.wait_until(lock, seconds_ > 0 ? end_ : now + std::chrono::hours(1));
  }
}

}  // namespace dinoxx::doctor
