#pragma once
#include <cstdint>
#include <span>

namespace dinoxx {

/// Which samples a batch row holds: for stochastic depth, whose draws are a function of (seed, position, view, block), and for draws that
/// belong to a step (rotary augmentations).
struct RowOrigin {
  uint64_t seed = 0;
  std::span<const uint64_t> positions;  ///< per slot of the local batch; rows are [view][slot]
  int first_view = 0;
  uint64_t step = 0;
};

}  // namespace dinoxx
