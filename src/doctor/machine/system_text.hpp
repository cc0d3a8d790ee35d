#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Texts of the Linux kernel about processors and control groups, read from strings: no files here.
namespace dinoxx::doctor {

/// Numbers of a list like "0-3,8,10-11" (cpuset(7)), rising. Nothing for another text; an empty list for an empty one.
std::optional<std::vector<int>> parse_cpu_list(std::string_view text);
/// The other way round: "0-3,8,10-11".
std::string cpu_list_text(const std::vector<int>& cpus);

/// Cores that cpu.max of a control group (version 2) allows, "150000 100000" -> 1.5; 0 for "max" and for what is none.
double cores_of_cpu_max(std::string_view text);
/// The same of cpu.cfs_quota_us and cpu.cfs_period_us (version 1), where a quota of -1 is none.
double cores_of_cfs(std::string_view quota, std::string_view period);

/// The group of this process in /proc/self/cgroup: of a controller of version 1 ("cpu"), or with "" that of version 2. Nothing when the
/// text does not name it.
std::optional<std::string> group_of(std::string_view membership, std::string_view controller);

/// The value behind `name` in lines of "name:  value", as in /proc/self/status. Empty when there is none.
std::string value_of(std::string_view lines, std::string_view name);

/// The version in "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul ..." (/proc/driver/nvidia/version): the first word of
/// digits and points. Empty when there is none.
std::string driver_version(std::string_view text);

/// Megabits a second of an InfiniBand port's rate, "200 Gb/sec (4X HDR)". 0 for what is none.
double megabits_of_rate(std::string_view text);

/// Bytes a second and direction of a PCIe link, "16.0 GT/s PCIe x16", without what its coding takes. 0 for what is none.
double bytes_of_pcie(std::string_view text);

}  // namespace dinoxx::doctor
