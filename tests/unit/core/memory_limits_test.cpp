#include "base/process/memory_limits.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <limits>

#include "temporary_folder.hpp"

namespace dinoxx {
namespace {

using testing_support::TemporaryFolder;
constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

void write(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text << "\n";
}

TEST(MemoryLimits, AreThoseOfTheGroupAndOfAllAboveIt) {
  const TemporaryFolder folder;
  const auto left = [&] { return memory_left_by_limits(folder / "cgroup", folder / "self"); };
  EXPECT_EQ(left(), kNone);
  // version 2, a step of a job of Slurm
  write(folder / "self", "0::/slurm/job_7/step_0");
  write(folder / "cgroup/slurm/job_7/step_0/memory.max", "max");
  write(folder / "cgroup/slurm/job_7/step_0/memory.current", "100");
  write(folder / "cgroup/slurm/job_7/memory.max", "5000");
  write(folder / "cgroup/slurm/job_7/memory.current", "2000");
  EXPECT_EQ(left(), 3000);
  write(folder / "cgroup/slurm/job_7/step_0/memory.max", "700");
  EXPECT_EQ(left(), 600);
  write(folder / "cgroup/slurm/job_7/step_0/memory.current", "900");
  EXPECT_EQ(left(), 0);
  // a container: the path is the host's, its group is at the root
  std::filesystem::remove_all(folder / "cgroup");
  write(folder / "cgroup/memory.max", "4000");
  write(folder / "cgroup/memory.current", "1500");
  EXPECT_EQ(left(), 2500);
  // version 1
  std::filesystem::remove_all(folder / "cgroup");
  write(folder / "self", "5:cpu,cpuacct:/x\n4:memory:/slurm/job_7");
  write(folder / "cgroup/memory/slurm/job_7/memory.limit_in_bytes", "800");
  write(folder / "cgroup/memory/slurm/job_7/memory.usage_in_bytes", "300");
  write(folder / "cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
  write(folder / "cgroup/memory/memory.usage_in_bytes", "300");
  EXPECT_EQ(left(), 500);
}

TEST(MemoryLimits, AreThoseOfTheAddressSpace) {
  const TemporaryFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit limit{rlim_t{1} << 40, rlim_t{1} << 40};
    ::setrlimit(RLIMIT_AS, &limit);
    const int64_t left = memory_left_by_limits(folder / "cgroup", folder / "self");
    ::_exit(left > 0 && left < (int64_t{1} << 40) ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace dinoxx
