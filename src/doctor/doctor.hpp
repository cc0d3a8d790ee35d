#pragma once
#include <filesystem>
#include <functional>
#include <memory>

#include "dinoxx/comm/communicator.hpp"
#include "doctor/machine/host_facts.hpp"
#include "stage_watch.hpp"

namespace dinoxx::doctor {

struct Options {
  std::filesystem::path data, run;  ///< empty: not looked at
  bool json = false;                ///< one JSON document instead of text
  double patience = 30;             ///< seconds until ranks that do not answer end the examination
  Process process;
  int threads = 1;                                                   ///< compute threads that a run would take on this rank
  std::function<std::shared_ptr<Communicator>()> make_communicator;  ///< of all ranks, for tensors on the CPU; collective
};

/// Looks at ranks, machines, links and storage, measures, and takes one training step; rank 0 prints as it goes, and ends with the verdict.
/// Returns its exit code, the same on all ranks: 1 with a fault, else 0. UsageError for a data or run folder that is none. Error on rank 0
/// alone, who must then abort the others, for ranks that do not answer. Collective.
int examine(const Options& options, StageWatch& watch);

}  // namespace dinoxx::doctor
