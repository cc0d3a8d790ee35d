#include <algorithm>
#include <bit>

#include "dinoxx/base/error.hpp"
#include "loader.hpp"

namespace dinoxx {
namespace {

// Finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijective mix of 64 bits.
uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

constexpr int kRounds = 6;    // fewer leave neighbouring outputs visibly dependent for small n
constexpr int kMinWidth = 8;  // bits of the permuted domain; narrower networks are not uniform over keys

}  // namespace

Sampler::Sampler(uint64_t n, uint64_t seed) : n_(n), seed_(seed) {
  if (n == 0) fail_usage("sampler", "at least one sample", "none", "Check the split that is trained on.");
}

uint64_t Sampler::row(uint64_t position) const {
  const uint64_t epoch = position / n_;
  const int width = std::max(kMinWidth, static_cast<int>(std::bit_width(n_ - 1)));
  const int half = (width + 1) / 2;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  const uint64_t key = mix(mix(seed_ + 0x9e3779b97f4a7c15ULL) ^ (epoch + 0x632be59bd9b4e019ULL));
  uint64_t value = position % n_;
  // Feistel network on 2 * half bits; values outside [0, n) walk on along their cycle, which keeps the map a bijection of [0, n).
  do {
    uint64_t left = value >> half, right = value & mask;
    for (int round = 0; round < kRounds; ++round) {
      const uint64_t next = left ^ (mix(right + key + static_cast<uint64_t>(round + 1) * 0x9e3779b97f4a7c15ULL) & mask);
      left = right;
      right = next;
    }
    value = (left << half) | right;
  } while (value >= n_);
  return value;
}

}  // namespace dinoxx
