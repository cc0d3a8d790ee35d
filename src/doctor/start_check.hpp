#pragma once
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "doctor/machine/host_facts.hpp"
#include "doctor/machine/rank_map.hpp"

namespace dinoxx::doctor {

/// What a run is about to take of each rank.
struct RunNeeds {
  int threads = 1, workers = 1;  ///< for computing and for loading
  bool own_workers = false;      ///< data.workers was set by the user
  bool on_gpu = false;
};

/// The part of the examination that needs no measurement, for the start of a run: a line about ranks, hosts, GPUs and cores, and one for
/// each warning and fault, with what to do. Milliseconds. On rank 0; the other ranks get no lines. Collective.
std::vector<std::string> start_lines(Communicator& comm, const Process& process, const RunNeeds& needs);

/// The line itself: "machine: 2 ranks on 1 host, 4 cores each; 3 compute and 1 loader threads".
std::string machine_line(const RankMap& map);

/// UsageError on all ranks, with ranks, host and GPU, when two of them have taken the same GPU. NCCL would refuse later, in other words.
/// Collective.
void refuse_shared_gpus(Communicator& comm, const Process& process);

}  // namespace dinoxx::doctor
