#pragma once
#include <optional>
#include <string>

#include "traffic.hpp"

namespace dinoxx::plan {

/// Seconds of one step of one rank. Without `mfu` from rates: each product takes as long as its operations or its bytes, whichever is
/// more; then come attention, elementwise passes and the optimizer; the host's launches where they take longer than all of these.
struct StepTime {
  double products = 0, attention = 0, passes = 0, optimizer = 0;
  double launches = 0;       ///< of the host, at the same time as the four above
  double communication = 0;  ///< of all collectives
  double exposed = 0;        ///< of these, what nothing else hides
  double loading = 0;        ///< of the loader's cores for this batch; 0: not known
  double flops = 0;
  double compute() const;
  double total() const;
  std::string binds() const;  ///< what the step waits for most
};

struct StepRates {
  std::optional<double> mfu;     ///< model FLOP utilisation: the share of the device's rate that computing reaches as a whole
  double seconds_per_image = 0;  ///< of loading, on one core
  double cores_per_rank = 0;     ///< of the loader; 0: as many as it takes
};

StepTime step_time(const Model& model, const Spread& spread, const GpuFacts& gpu, const StepRates& rates);

}  // namespace dinoxx::plan
