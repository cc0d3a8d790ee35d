#pragma once
#include <cstdint>
#include <string>

#include "config/auto.hpp"
#include "config/duration.hpp"

namespace dinoxx {

/// Keys of the section [init].
struct InitConfig {
  Duration heads_only, unfreeze;
  int64_t last_blocks = 0, lora_rank = 0;
  double anchor = 0, alarm = 0;
  std::string anchor_form;
  Auto<double> lora_alpha;
  bool operator==(const InitConfig&) const = default;
};

}  // namespace dinoxx
