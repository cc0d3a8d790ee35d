#pragma once
#include <string>

namespace dinoxx {

/// Keys of the section [parallel].
struct ParallelConfig {
  std::string sync, shard_within;
  bool operator==(const ParallelConfig&) const = default;
};

}  // namespace dinoxx
