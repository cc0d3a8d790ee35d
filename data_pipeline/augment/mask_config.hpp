#pragma once
#include <cstdint>
#include <string>

namespace dinoxx {

/// Keys of the section [mask].
struct MaskConfig {
  std::string scheme;
  double probability = 0, ratio_min = 0, ratio_max = 0;
  int64_t group_size = 0;
  bool shift = false;
  bool operator==(const MaskConfig&) const = default;
};

}  // namespace dinoxx
