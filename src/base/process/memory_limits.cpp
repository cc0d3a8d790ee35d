#include "memory_limits.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace dinoxx {
namespace {

namespace fs = std::filesystem;

int64_t number_in(const fs::path& path) {
  std::ifstream file(path);
  int64_t number = -1;
  return file >> number ? number : int64_t{-1};  // also for "max"
}

/// Of a group and all above it up to where they are mounted. In a container the path may be one of the host, that is not there: then the
/// container's own group is mounted at the root.
int64_t left_in_group(const fs::path& root, const std::string& group, const char* limit, const char* used) {
  int64_t left = std::numeric_limits<int64_t>::max();
  for (fs::path below = fs::path(group).relative_path();; below = below.parent_path()) {
    const int64_t most = number_in(root / below / limit), now = number_in(root / below / used);
    if (most > 0 && now >= 0) left = std::min(left, std::max<int64_t>(most - now, 0));
    if (below.empty()) return left;
  }
}

int64_t left_of_addresses() {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::numeric_limits<int64_t>::max();
  const int64_t pages = number_in("/proc/self/statm");
  return std::max<int64_t>(static_cast<int64_t>(limit.rlim_cur) - std::max<int64_t>(pages, 0) * ::sysconf(_SC_PAGESIZE), 0);
}

}  // namespace

int64_t memory_left_by_limits(const fs::path& groups, const fs::path& membership) {
  int64_t left = std::min(left_of_addresses(), left_in_group(groups, "", "memory.max", "memory.current"));
  left = std::min(left, left_in_group(groups / "memory", "", "memory.limit_in_bytes", "memory.usage_in_bytes"));
  std::ifstream file(membership);
  for (std::string line; std::getline(file, line);) {  // "4:memory:/job" in version 1, "0::/job" in version 2
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), group = line.substr(second + 1);
    if (controllers.empty()) left = std::min(left, left_in_group(groups, group, "memory.max", "memory.current"));
    if (("," + controllers + ",").find(",memory,") != std::string::npos)
      left = std::min(left, left_in_group(groups / "memory", group, "memory.limit_in_bytes", "memory.usage_in_bytes"));
  }
  return left;
}

}  // namespace dinoxx
