#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/auto.hpp"
#include "config/duration.hpp"

namespace dinoxx {

/// Keys of the section [guide].
struct GuideConfig {
  std::string learn, forget, forget_by;
  Auto<double> learn_weight, forget_weight;
  int64_t hidden_dim = 0;
  Auto<Duration> ramp;
  Auto<std::vector<int64_t>> outputs;
  bool operator==(const GuideConfig&) const = default;
};

}  // namespace dinoxx
