#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/auto.hpp"
#include "config/view_sizes.hpp"

namespace dinoxx {

/// Keys of the section [views].
struct ViewsConfig {
  std::string profile;
  int64_t global_size = 0, local_size = 0;
  std::vector<ViewSizes> sizes;
  std::string sizes_by;
  double flip = 0;
  Auto<int64_t> local_count;
  Auto<double> global_scale_min, global_scale_max, local_scale_min, local_scale_max;
  bool blur = false, color = false;
  bool operator==(const ViewsConfig&) const = default;
};

}  // namespace dinoxx
