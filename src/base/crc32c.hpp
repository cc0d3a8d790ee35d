#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/cpu_level.hpp"

namespace dinoxx {

/// CRC-32C (Castagnoli, RFC 3720) of `size` bytes, continuing from `crc` (0 to start). SSE4.2 from level avx2 on.
uint32_t crc32c(const void* data, size_t size, uint32_t crc = 0);

/// The level that crc32c() takes, generic or avx2; the sums are the same.
CpuLevel crc32c_level();

}  // namespace dinoxx
