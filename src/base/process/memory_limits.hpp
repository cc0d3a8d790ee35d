#pragma once
#include <cstdint>
#include <filesystem>

namespace dinoxx {

/// Bytes that the limits of this process leave it, INT64_MAX without any: its memory cgroup and those above it (a container, a job of
/// Slurm; both versions), and the address space (ulimit -v). `groups` is where cgroups are mounted, `membership` what says in which the
/// process is.
int64_t memory_left_by_limits(const std::filesystem::path& groups = "/sys/fs/cgroup",
                              const std::filesystem::path& membership = "/proc/self/cgroup");

}  // namespace dinoxx
