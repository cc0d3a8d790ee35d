#pragma once
#include <Random123/philox.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace dinoxx {

/// What a random draw is for. Part of the counter, so that no two uses share numbers. Append only: the values are part of the resume
/// contract.
enum class Purpose : uint16_t {
  kOrder = 0,  ///< sample order
  kCrop = 1,   ///< crop geometry and flip
  kColor = 2,  ///< colour jitter, grayscale, solarise
  kBlur = 3,
  kDropPath = 4,  ///< (position, view, block)
  kInit = 5,      ///< parameter initialisation: (parameter index, 0)
  kToy = 6,       ///< drawing of toy images
  kSplit = 7,     ///< held-out part of train
  kEval = 8,
  kMask = 9,
  kRope = 10,        ///< rotary augmentations: (step, first view and block)
  kSizes = 11,       ///< resolution of a batch: (its first position, 0)
  kDirections = 12,  ///< directions of SIGReg: (step, direction)
  kLora = 13,        ///< factors of low rank at their beginning: (segment, 0)
};

/// Random numbers as a function of (seed, position, lane, purpose): Philox4x32-10 (Salmon et al., SC'11; Random123).
/// Two generators with equal arguments give equal numbers on every machine, thread and rank. `position` is a sample's global position
/// for draws that belong to a sample, a step for those that do not; `lane` tells draws of one position apart (view, block, parameter).
class CounterRng {
 public:
  CounterRng(uint64_t seed, uint64_t position, uint32_t lane, Purpose purpose)
      : key_{{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}},
        counter_{{static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), lane, static_cast<uint32_t>(purpose) << 16}} {}

  uint32_t next_u32() {
    if (used_ == 4) {
      block_ = r123::Philox4x32()(counter_, key_);
      ++counter_.v[3];  // 2^16 blocks of 4 numbers before the purpose field would be reached
      used_ = 0;
    }
    return block_.v[used_++];
  }
  uint64_t next_u64() {
    const uint64_t low = next_u32();
    return low | (static_cast<uint64_t>(next_u32()) << 32);
  }
  /// Uniform in [0, 1) with 53 bits.
  double uniform() { return static_cast<double>(next_u64() >> 11) * 0x1.0p-53; }
  /// Uniform in [low, high).
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// Uniform integer in [0, n), n >= 1, without modulo bias worth naming (128-bit multiply).
  uint64_t below(uint64_t n) { return static_cast<uint64_t>((static_cast<unsigned __int128>(next_u64()) * n) >> 64); }
  bool bernoulli(double p) { return uniform() < p; }
  /// Standard normal (Box-Muller, one of the pair).
  double normal() {
    const double u = 1.0 - uniform(), v = uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
  }

 private:
  r123::Philox4x32::key_type key_;
  r123::Philox4x32::ctr_type counter_;
  r123::Philox4x32::ctr_type block_{};
  int used_ = 4;
};

}  // namespace dinoxx
