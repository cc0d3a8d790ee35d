#pragma once
#include <cstdint>

namespace dinoxx::eval {

/// What draws of Purpose::kEval are for, so that no two protocols share numbers. Append only. Thinning out the memory (eval_data.cpp) has
/// lane 0.
enum class Lane : uint32_t {
  kThin = 0,
  kBootstrap = 1,
  kKmeans = 2,
  kShots = 3,
  kEpisodes = 4,
  kFolds = 5,
  kPatches = 6,
  kSampler = 7,
  kLinearProbe = 8,
  kWarps = 9,
  kCopies = 10,
  kMoreImages = 11
};

/// The lane of CounterRng: `sub` (below 2^28) tells apart what belongs to one position (a restart, a draw).
inline uint32_t lane(Lane what, uint64_t sub = 0) {
  return static_cast<uint32_t>(what) << 28 | static_cast<uint32_t>(sub);
}

}  // namespace dinoxx::eval
