#pragma once
#include "parallel/flat_state.hpp"

namespace dinoxx {

/// The teacher's exponential moving average: teacher = m * teacher + (1 - m) * student over all segments and padding, in the masters' type;
/// casts the teacher's compute copy in the same pass. Element by element: the result does not depend on the number of threads. Error
/// when the two have other layouts or types.
void ema_update(FlatState& teacher, const FlatState& student, double momentum);

}  // namespace dinoxx
