#pragma once
#include <cstddef>
#include <cstdint>

namespace dinoxx {

/// CRC-32C (Castagnoli, RFC 3720) of `size` bytes, continuing from `crc` (0 to start). SSE4.2 where the processor has it.
uint32_t crc32c(const void* data, size_t size, uint32_t crc = 0);

}  // namespace dinoxx
