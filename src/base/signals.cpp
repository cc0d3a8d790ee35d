#include "signals.hpp"

#include <array>
#include <atomic>
#include <csignal>

namespace dinoxx {
namespace {

constexpr std::array<int, 3> kSignals{SIGUSR1, SIGTERM, SIGINT};
std::atomic<int> last_signal{0};
static_assert(std::atomic<int>::is_always_lock_free, "set from a signal handler");
std::array<struct sigaction, 3> previous;

extern "C" void on_signal(int number) {
  if (number == SIGINT && last_signal.load() == SIGINT) {
    ::signal(SIGINT, SIG_DFL);
    ::raise(SIGINT);
  }
  last_signal.store(number);
}

}  // namespace

StopSignals::StopSignals() {
  last_signal.store(0);
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;  // reads and MPI calls under way go on
  for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &action, &previous[i]);
}

StopSignals::~StopSignals() {
  for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &previous[i], nullptr);
}

const char* StopSignals::received() const {
  switch (last_signal.load()) {
    case SIGUSR1:
      return "SIGUSR1";
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    default:
      return nullptr;
  }
}

}  // namespace dinoxx
