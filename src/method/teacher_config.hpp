#pragma once
#include <string>

#include "config/auto.hpp"
#include "config/duration.hpp"

namespace dinoxx {

/// Keys of the section [teacher].
struct TeacherConfig {
  Auto<double> momentum, temp, warmup_temp, patch_temp, patch_warmup_temp;
  double momentum_end = 0;
  Duration hold_backbone;
  Auto<Duration> warmup_temp_epochs;
  std::string temp_changes, distill, facts, match;
  bool operator==(const TeacherConfig&) const = default;
};

}  // namespace dinoxx
