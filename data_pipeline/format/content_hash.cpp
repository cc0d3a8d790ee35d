#include "content_hash.hpp"

#include <fmt/format.h>

#include <bit>
#include <cstring>

namespace dinoxx::detail {
namespace {

constexpr uint64_t kC1 = 0x87C37B91114253D5ull, kC2 = 0x4CF5AD432745937Full;

uint64_t finalise(uint64_t k) {
  k = (k ^ (k >> 33)) * 0xFF51AFD7ED558CCDull;
  k = (k ^ (k >> 33)) * 0xC4CEB9FE1A85EC53ull;
  return k ^ (k >> 33);
}

uint64_t mix1(uint64_t k) { return std::rotl(k * kC1, 31) * kC2; }
uint64_t mix2(uint64_t k) { return std::rotl(k * kC2, 33) * kC1; }

}  // namespace

Hash128 hash128(const void* data, size_t size, uint64_t seed) {
  const auto* p = static_cast<const unsigned char*>(data);
  uint64_t a = seed, b = seed;
  size_t left = size;
  for (; left >= 16; left -= 16, p += 16) {
    uint64_t k[2];
    std::memcpy(k, p, 16);
    a = (std::rotl(a ^ mix1(k[0]), 27) + b) * 5 + 0x52DCE729;
    b = (std::rotl(b ^ mix2(k[1]), 31) + a) * 5 + 0x38495AB5;
  }
  uint64_t tail[2] = {0, 0};
  if (left > 0) std::memcpy(tail, p, left);
  b ^= mix2(tail[1]);
  a ^= mix1(tail[0]);
  a ^= size;
  b ^= size;
  a += b;
  b += a;
  a = finalise(a);
  b = finalise(b);
  a += b;
  b += a;
  return {a, b};
}

std::string hash_text(const Hash128& hash) { return fmt::format("{:016x}{:016x}", hash[0], hash[1]); }

std::string hash_uuid(const Hash128& hash) {
  const uint64_t high = (hash[0] & ~uint64_t{0xF000}) | 0x8000;
  const uint64_t low = (hash[1] & ~(uint64_t{3} << 62)) | (uint64_t{2} << 62);
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32, (high >> 16) & 0xFFFF, high & 0xFFFF, low >> 48, low & 0xFFFFFFFFFFFFull);
}

}  // namespace dinoxx::detail
