#pragma once
#include <array>

/// Where the fused operations spend processor time, counted always: two clock readings an operation. For the benchmark's profile. Time of
/// the calling thread.
namespace dinoxx::ops {

enum class Phase { kGemm, kLayerNorm, kAttention, kRowSums, kColumns, kCount };

struct PhaseTotals {
  double seconds = 0;
  double flops = 0;  ///< kGemm only
};
using Profile = std::array<PhaseTotals, static_cast<size_t>(Phase::kCount)>;

/// Totals of this process so far.
Profile profile();

class ProfileScope {
 public:
  explicit ProfileScope(Phase phase, double flops = 0);
  ~ProfileScope();
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  Phase phase_;
  double flops_, start_;
};

}  // namespace dinoxx::ops
