#pragma once
#include <cstdint>
#include <string>

namespace dinoxx {

/// Sizes of the crops of a step, pixels, and the share of the steps that have them (of the sum of all shares). gram 0: the Gram teacher
/// sees the global crops.
struct ViewSizes {
  int64_t global = 0, local = 0, gram = 0;
  double share = 1;
  std::string text() const;  ///< "512x112x768:0.3"
  bool operator==(const ViewSizes&) const = default;
};

}  // namespace dinoxx
