#pragma once
#include <cstdint>

namespace dinoxx::loss_kernel {

/// Instruction sets that the kernels are compiled for; best_level() is what this processor runs.
enum class Level { kGeneric, kAvx2, kAvx512 };
Level best_level();

enum class Storage { kFloat, kBFloat16 };

}  // namespace dinoxx::loss_kernel
