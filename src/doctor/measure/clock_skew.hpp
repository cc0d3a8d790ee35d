#pragma once
#include <functional>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "doctor/finding.hpp"
#include "doctor/machine/rank_map.hpp"

namespace dinoxx::doctor {

/// A rank's clock against rank 0's.
struct ClockOffset {
  int rank = 0;
  double seconds = 0;      ///< ahead of rank 0
  double uncertainty = 0;  ///< half the fastest round trip: the truth is within it
};

/// By ping-pong with rank 0 over the communicator, of these ranks, whose list is the same on all. `clock`: seconds of this rank's wall
/// clock since an epoch that all have. The same answer on all ranks. Collective.
std::vector<ClockOffset> clock_offsets(Communicator& comm, const std::vector<int>& ranks, const std::function<double()>& clock);

/// This machine's wall clock, seconds since 1970.
double wall_clock();

/// A warning for each host that is off by more than a second, beyond the uncertainty.
std::vector<Finding> clock_findings(const RankMap& map, const std::vector<ClockOffset>& offsets);

}  // namespace dinoxx::doctor
