#pragma once
#include <cstdint>
#include <string>

#include "config/duration.hpp"

namespace dinoxx {

/// Keys of the section [gram].
struct GramConfig {
  double weight = 0;
  Duration start, ramp, first, every;
  int64_t max_updates = 0, size = 0, group_size = 0;
  std::string teacher, negatives, tokens;
  bool operator==(const GramConfig&) const = default;
};

}  // namespace dinoxx
