#pragma once
#include <ostream>

#include "kernels/cpu_level.hpp"

namespace dinoxx {

/// Parameters of tests that run at several instruction sets.
inline void PrintTo(CpuLevel level, std::ostream* out) {
  *out << level_name(level);
}

}  // namespace dinoxx
