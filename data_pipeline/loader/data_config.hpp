#pragma once
#include <cstdint>

#include "config/auto.hpp"

namespace dinoxx {

/// Keys of the section [data].
struct DataConfig {
  Auto<int64_t> workers;
  int64_t ring = 0;
  bool cache_decoded = false;
  double max_bad_fraction = 0, balance = 0;
  bool operator==(const DataConfig&) const = default;
};

}  // namespace dinoxx
