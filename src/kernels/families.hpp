#pragma once
#include <optional>
#include <string_view>
#include <vector>

#include "kernels/cpu_level.hpp"

namespace dinoxx {

/// A group of kernels that is dispatched together.
struct KernelFamily {
  std::string_view name;
  std::optional<CpuLevel> level;  ///< of the kernels that run at cpu_level(); none: LibTorch's operators do it, which choose for themselves
  bool same_bits = false;         ///< every level gives the same bits; else levels agree to rounding
};

/// All families with the level that each has chosen, read from the tables of functions that it calls.
std::vector<KernelFamily> kernel_families();

}  // namespace dinoxx
