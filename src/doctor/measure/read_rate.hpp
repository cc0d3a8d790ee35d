#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "doctor/finding.hpp"
#include "doctor/machine/rank_map.hpp"

namespace dinoxx::doctor {

/// How the data folder is read: by all ranks at once, whole images in random order, by the reader of training on one thread a rank. What
/// the system kept of the shards in memory was dropped first, as far as it lets go.
struct ReadRate {
  std::string error;  ///< of the rank that could not; empty: all could
  int64_t shards = 0;
  uint64_t images = 0;                             ///< of the folder
  double images_a_second = 0, bytes_a_second = 0;  ///< of all ranks together
  double slowest_rank = 0;                         ///< images a second
  int slowest = 0;                                 ///< which
  double latency = 0;                              ///< seconds that nine of ten images need at most, of the slowest rank
};
/// UsageError when `data` is no data folder. Collective.
void refuse_no_data(Communicator& comm, const std::filesystem::path& data);
/// About `seconds`. What is wrong inside the folder is the result's error. Collective.
ReadRate read_rate(Communicator& comm, const std::filesystem::path& data, double seconds);
std::vector<Finding> read_findings(const RankMap& map, const std::filesystem::path& data, const ReadRate& rate);

}  // namespace dinoxx::doctor
