#include "signals.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>

namespace dinoxx {
namespace {

struct Caught {
  int number;
  const char* name;
};
// USR2 and XCPU are the warnings of other batch systems and of a soft limit on processor time.
constexpr std::array<Caught, 7> kSignals{{{SIGUSR1, "SIGUSR1"},
                                          {SIGTERM, "SIGTERM"},
                                          {SIGINT, "SIGINT"},
                                          {SIGHUP, "SIGHUP"},
                                          {SIGPIPE, "SIGPIPE"},
                                          {SIGUSR2, "SIGUSR2"},
                                          {SIGXCPU, "SIGXCPU"}}};
std::atomic<int> last_signal{0};
static_assert(std::atomic<int>::is_always_lock_free, "set from a signal handler");
std::array<struct sigaction, kSignals.size()> previous;

// A terminal or pipe that nobody holds any more is replaced, so that what the run still says is no error of the run. Async-signal-safe.
void leave_closed_outputs() {
  for (const int stream : {STDOUT_FILENO, STDERR_FILENO}) {
    pollfd state{stream, POLLOUT, 0};
    if (::poll(&state, 1, 0) != 1 || !(state.revents & (POLLERR | POLLHUP))) continue;
    const int nothing = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nothing < 0) continue;
    ::dup2(nothing, stream);
    ::close(nothing);
  }
}

extern "C" void on_signal(int number) {
  if (number == SIGINT && last_signal.load() == SIGINT) {
    ::signal(SIGINT, SIG_DFL);
    ::raise(SIGINT);
  }
  last_signal.store(number);
  if (number != SIGHUP && number != SIGPIPE) return;
  const int error = errno;
  leave_closed_outputs();
  errno = error;
}

}  // namespace

StopSignals::StopSignals() {
  last_signal.store(0);
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;  // reads and MPI calls under way go on
  for (size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i].number, &action, &previous[i]);
    if (kSignals[i].number == SIGHUP && previous[i].sa_handler == SIG_IGN) ::sigaction(SIGHUP, &previous[i], nullptr);
  }
}

StopSignals::~StopSignals() {
  for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i].number, &previous[i], nullptr);
}

const char* StopSignals::received() const {
  const int number = last_signal.load();
  for (const Caught& caught : kSignals)
    if (caught.number == number) return caught.name;
  return nullptr;
}

}  // namespace dinoxx
