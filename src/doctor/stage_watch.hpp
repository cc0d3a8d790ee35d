#pragma once
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace dinoxx::doctor {

/// Ends the process when a stage takes longer than its limit: a rank whose host does not answer leaves all others waiting in MPI, which
/// never ends. Says on stderr who waits, on which host, and in which stage, gives the other ranks a moment to say the same, and ends the
/// process with exit code 1. A thread of its own that calls no MPI. Or, as a training does, which may be one of many that begin slowly,
/// says it and goes on to wait.
class StageWatch {
 public:
  enum class AtLimit { kEnd, kSay };
  /// `rank`: as the launcher counts, known before MPI is.
  explicit StageWatch(int rank, AtLimit at_limit = AtLimit::kEnd);
  ~StageWatch();
  StageWatch(const StageWatch&) = delete;
  StageWatch& operator=(const StageWatch&) = delete;

  /// The stage before is over; this one has `seconds`.
  void begin(std::string stage, double seconds);

 private:
  void watch();
  int rank_;
  AtLimit at_limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string stage_;
  double seconds_ = 0;  // 0: nothing is watched
  std::chrono::steady_clock::time_point end_;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace dinoxx::doctor
