#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/auto.hpp"
#include "config/duration.hpp"

namespace dinoxx {

/// Keys of the section [eval].
struct EvalConfig {
  Duration every;
  std::string suite;  ///< names of steps, separated by commas; who evaluates knows them
  std::vector<int64_t> knn_k;
  Auto<int64_t> image_size;  ///< auto: views.global_size
  bool operator==(const EvalConfig&) const = default;
};

}  // namespace dinoxx
