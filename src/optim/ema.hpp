#pragma once
#include <optional>

#include "parallel/flat_state.hpp"

namespace dinoxx {

/// Elements [begin, begin + count) of flat buffers.
struct FlatRange {
  int64_t begin = 0, count = 0;
};

/// The teacher's exponential moving average: teacher = m * teacher + (1 - m) * student over all segments and padding, or over `ranges`, in
/// the masters' type; casts the teacher's compute copy in the same pass. Element by element: the result does not depend on the number of
/// threads. Equal values may change by a rounding, so what must keep its bits is left out of the ranges. Error when the two have other
/// layouts or types.
void ema_update(FlatState& teacher, const FlatState& student, double momentum, const std::optional<std::vector<FlatRange>>& ranges = {});

}  // namespace dinoxx
