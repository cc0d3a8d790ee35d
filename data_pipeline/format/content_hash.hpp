#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace dinoxx::detail {

using Hash128 = std::array<uint64_t, 2>;

/// MurmurHash3_x64_128 (Austin Appleby, public domain): names contents, no protection against intent. Little-endian machines.
Hash128 hash128(const void* data, size_t size, uint64_t seed = 0);

/// 32 hexadecimal digits.
std::string hash_text(const Hash128& hash);
/// As a version 8 UUID (RFC 9562): six of its bits are the version's.
std::string hash_uuid(const Hash128& hash);

}  // namespace dinoxx::detail
