#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "dinoxx/comm/communicator.hpp"
#include "doctor/finding.hpp"

namespace dinoxx::doctor {

/// A small training step on synthetic pixels: all of a step's parts on this device and over these ranks.
struct TrialStep {
  std::string error;   ///< empty: it went well
  double seconds = 0;  ///< of the second step, which allocates nothing; the slowest rank's
  double loss = 0;
  int64_t batch = 0;  ///< images of all ranks
};

/// Communicators as in training: for tensors on the CPU, and two for tensors on `device`.
struct TrialComms {
  std::shared_ptr<Communicator> control, gradients, statistics;
};

/// Two steps of DINO with a small vision transformer; then the ranks' weights must be equal, bit for bit. Sets the number of compute
/// threads. Collective.
TrialStep trial_step(const TrialComms& comms, at::Device device, int threads);
std::vector<Finding> step_findings(const TrialStep& step);

}  // namespace dinoxx::doctor
