#pragma once
#include "kernels/cpu_level.hpp"

namespace dinoxx::loss_kernel {

/// The level that the losses' kernels take: they are compiled for generic, avx2 and avx512, and a higher one runs as avx512.
CpuLevel level();

enum class Storage { kFloat, kBFloat16 };

}  // namespace dinoxx::loss_kernel
