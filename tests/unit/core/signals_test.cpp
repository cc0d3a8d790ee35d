// What a signal does while work that can be saved goes on.
#include "base/signals.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <csignal>

namespace dinoxx {
namespace {

class AgainstSignal : public testing::TestWithParam<std::pair<int, const char*>> {};

TEST_P(AgainstSignal, TheSignalIsNotedAndEndsNothing) {
  const StopSignals signals;
  EXPECT_EQ(signals.received(), nullptr);
  ASSERT_EQ(::raise(GetParam().first), 0);
  ASSERT_NE(signals.received(), nullptr);
  EXPECT_STREQ(signals.received(), GetParam().second);
}

INSTANTIATE_TEST_SUITE_P(All, AgainstSignal,
                         testing::Values(std::pair(SIGUSR1, "SIGUSR1"), std::pair(SIGTERM, "SIGTERM"), std::pair(SIGINT, "SIGINT"),
                                         std::pair(SIGUSR2, "SIGUSR2"), std::pair(SIGXCPU, "SIGXCPU"), std::pair(SIGHUP, "SIGHUP"),
                                         std::pair(SIGPIPE, "SIGPIPE")),
                         [](const auto& info) { return info.param.second; });

TEST(StopSignals, AnIgnoredHangUpStaysIgnored) {  // nohup
  ::signal(SIGHUP, SIG_IGN);
  {
    const StopSignals signals;
    ::raise(SIGHUP);
    EXPECT_EQ(signals.received(), nullptr);
  }
  ::signal(SIGHUP, SIG_DFL);
}

TEST(StopSignals, OutputThatNobodyReadsGoesNowhere) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  const int before = ::dup(STDOUT_FILENO);
  ::dup2(pipe[1], STDOUT_FILENO);
  ::close(pipe[1]);
  ::close(pipe[0]);
  ssize_t first = 0, second = 0;
  const char* received = nullptr;
  {
    const StopSignals signals;
    first = ::write(STDOUT_FILENO, "x", 1);
    second = ::write(STDOUT_FILENO, "x", 1);
    received = signals.received();
  }
  ::dup2(before, STDOUT_FILENO);
  ::close(before);
  EXPECT_EQ(first, -1);
  EXPECT_EQ(second, 1) << "the run's next words are no error";
  ASSERT_NE(received, nullptr);
  EXPECT_STREQ(received, "SIGPIPE");
}

}  // namespace
}  // namespace dinoxx
