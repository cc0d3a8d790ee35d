#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "doctor/finding.hpp"
#include "doctor/machine/rank_map.hpp"

namespace dinoxx::doctor {

/// How the run folder is written: by all ranks at once, a file each, up to the disk (fsync). The files have no name in the folder.
struct WriteRate {
  std::string error;
  int failed = 0;             ///< the rank that could not
  double bytes_a_second = 0;  ///< of all ranks together
  double sync = 0;            ///< seconds of a small write and its fsync, of the slowest rank
  int64_t free = 0;           ///< bytes of the file system
  int64_t free_files = -1;    ///< -1: it does not count them
  int64_t checkpoint = 0;     ///< bytes of the run's newest checkpoint; 0: there is none
  double clock = 0;           ///< seconds that the file system's clock is ahead of rank 0's
};
/// UsageError when `run` is no folder. Collective.
void refuse_no_folder(Communicator& comm, const std::filesystem::path& run);
/// About `seconds`. Collective.
WriteRate write_rate(Communicator& comm, const std::filesystem::path& run, double seconds);
std::vector<Finding> write_findings(const RankMap& map, const std::filesystem::path& run, const WriteRate& rate);

}  // namespace dinoxx::doctor
