#pragma once
#include <cstdint>

#include "config/duration.hpp"

namespace dinoxx {

/// Keys of the section [checkpoint].
struct CheckpointConfig {
  Duration every, keep_every;
  int64_t keep = 0;
  double part_size = 0;
  bool operator==(const CheckpointConfig&) const = default;
};

}  // namespace dinoxx
