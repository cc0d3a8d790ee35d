#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/rng.hpp"

namespace dinoxx {

/// 0 to 1 as a byte.
inline uint8_t to_byte(double value) {
  return static_cast<uint8_t>(std::clamp(std::floor(255.0 * value + 0.5), 0.0, 255.0));
}

/// Zero mean, unit variance, from integers alone: equal on every machine.
inline double toy_grain(CounterRng& rng) {
  double sum = 0.0;
  for (int i = 0; i < 4; ++i) sum += static_cast<double>(rng.next_u32()) * 0x1.0p-32;
  return (sum - 2.0) * 1.7320508075688772;  // variance of the sum is 4/12
}

/// Samples per pixel and side: edges of thin lines need them at 32 pixels, large images do not.
inline int toy_samples(int size) {
  return std::clamp(128 / size, 1, 4);
}

}  // namespace dinoxx
