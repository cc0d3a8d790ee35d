// What is said of failures that no part of the program foresaw.
#include "base/failure.hpp"

#include <gmock/gmock.h>

#include <system_error>

#include "base/machine.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(FailureText, OfWantOfMemoryTellsWhatWasAskedForAndWhatToLower) {
  note_failed_allocation(3'000'000'000);
  EXPECT_THAT(failure_text(std::bad_alloc(), "unexpected: "),
              AllOf(HasSubstr("expected 3.0 GB more"), HasSubstr(" free"), HasSubstr("train.batch_size"), HasSubstr(host_name()),
                    Not(HasSubstr("unexpected"))));
}

TEST(FailureText, OfLibTorchsAllocatorIsTheSame) {
  const std::runtime_error error(
      "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8000000000 bytes. "
      "Error "
      "code 12 (Cannot allocate memory)\nException raised from alloc_cpu at /pytorch/c10/core/impl/alloc_cpu.cpp:127");
  EXPECT_THAT(failure_text(error), AllOf(HasSubstr("expected 8.0 GB more"), HasSubstr("data.ring"), Not(HasSubstr("alloc_cpu"))));
}

TEST(FailureText, OfThreadsNamesTheirLimit) {
  const std::system_error error(std::make_error_code(std::errc::resource_unavailable_try_again));
  EXPECT_THAT(failure_text(error), AllOf(HasSubstr("ulimit -u"), HasSubstr("train.threads")));
}

TEST(FailureText, OfOthersStays) {
  EXPECT_EQ(failure_text(Error("a: expected b, found c."), "unexpected: "), "a: expected b, found c.");
  EXPECT_EQ(failure_text(std::runtime_error("broken\nException raised from here"), "unexpected: "), "unexpected: broken");
}

TEST(Machine, TheProcessStartedBeforeItsMain) {
  const double first = process_seconds(), second = process_seconds();
  EXPECT_GE(first, 0);
  EXPECT_LT(first, 3600);
  EXPECT_GE(second, first);
}

TEST(Machine, HasMemoryLeft) {
  EXPECT_GT(available_memory(), 1 << 20);
}

}  // namespace
}  // namespace dinoxx
