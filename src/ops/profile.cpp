#include "profile.hpp"

#include <ctime>
#include <mutex>

namespace dinoxx::ops {
namespace {

std::mutex mutex;
Profile totals;

double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

}  // namespace

Profile profile() {
  std::lock_guard lock(mutex);
  return totals;
}

ProfileScope::ProfileScope(Phase phase, double flops) : phase_(phase), flops_(flops), start_(thread_seconds()) {}

ProfileScope::~ProfileScope() {
  const double seconds = thread_seconds() - start_;
  std::lock_guard lock(mutex);
  auto& total = totals[static_cast<size_t>(phase_)];
  total.seconds += seconds;
  total.flops += flops_;
}

}  // namespace dinoxx::ops
