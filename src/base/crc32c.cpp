#include "crc32c.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace dinoxx {
namespace {

// Reflected Castagnoli polynomial (RFC 3720, appendix B.4).
constexpr uint32_t kPolynomial = 0x82F63B78u;

// Slicing by eight: table[k][b] is the checksum of byte b followed by k zero bytes.
constexpr auto kTables = [] {
  std::array<std::array<uint32_t, 256>, 8> table{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t c = b;
    for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ ((c & 1u) ? kPolynomial : 0u);
    table[0][b] = c;
  }
  for (size_t k = 1; k < 8; ++k) {
    for (uint32_t b = 0; b < 256; ++b) table[k][b] = (table[k - 1][b] >> 8) ^ table[0][table[k - 1][b] & 0xFFu];
  }
  return table;
}();

uint32_t crc_portable(const unsigned char* p, size_t n, uint32_t c) {
  while (n >= 8) {
    const uint32_t low = c ^ (uint32_t{p[0]} | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16 | uint32_t{p[3]} << 24);
    c = kTables[7][low & 0xFF] ^ kTables[6][(low >> 8) & 0xFF] ^ kTables[5][(low >> 16) & 0xFF] ^ kTables[4][low >> 24] ^ kTables[3][p[4]] ^
        kTables[2][p[5]] ^ kTables[1][p[6]] ^ kTables[0][p[7]];
    p += 8;
    n -= 8;
  }
  while (n-- > 0) c = (c >> 8) ^ kTables[0][(c ^ *p++) & 0xFFu];
  return c;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t crc_sse42(const unsigned char* p, size_t n, uint32_t crc) {
  uint64_t c = crc;
  while (n >= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    c = _mm_crc32_u64(c, word);
    p += 8;
    n -= 8;
  }
  auto tail = static_cast<uint32_t>(c);
  while (n-- > 0) tail = _mm_crc32_u8(tail, *p++);
  return tail;
}
#endif

}  // namespace

namespace detail {
uint32_t crc32c_portable(const void* data, size_t size, uint32_t crc) { return ~crc_portable(static_cast<const unsigned char*>(data), size, ~crc); }
}  // namespace detail

CpuLevel crc32c_level() {
  return cpu_level() >= CpuLevel::kAvx2 ? CpuLevel::kAvx2 : CpuLevel::kGeneric;
}

uint32_t crc32c(const void* data, size_t size, uint32_t crc) {
#if defined(__x86_64__)
  if (crc32c_level() >= CpuLevel::kAvx2) return ~crc_sse42(static_cast<const unsigned char*>(data), size, ~crc);
#endif
  return detail::crc32c_portable(data, size, crc);
}

}  // namespace dinoxx
