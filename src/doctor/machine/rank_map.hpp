#pragma once
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "host_facts.hpp"

namespace dinoxx::doctor {

/// What all ranks know of themselves, by rank.
using RankMap = std::vector<HostFacts>;

/// Each rank's facts on all ranks. Collective.
RankMap gather_facts(Communicator& comm, const HostFacts& mine);

/// Hosts in the order of their first rank, each with its ranks, rising.
struct HostRanks {
  std::string host;
  std::vector<int> ranks;
};
std::vector<HostRanks> hosts_of(const RankMap& map);

/// Cores' worth of time that each rank has: what it is bound to, shared evenly with the ranks of its host that are bound there too, and cut
/// to the quota of its control group. 0 where the binding is not known.
std::vector<double> cores_of_ranks(const RankMap& map);

/// Cores of a host that the job may use: of its control group or batch job where that is known, else all.
int cores_of_job(const HostFacts& facts);

/// "0-3,8" of ranks, with their host where all are of one: "rank 3 on node1", "ranks 0-3 on node1", "ranks 0,4 on node1 and node2".
std::string ranks_in_words(const RankMap& map, const std::vector<int>& ranks);

/// "1.5" or "2": cores for people.
std::string cores_text(double cores);

/// The table of ranks, one a line, with its heading: host, cores, binding, NUMA nodes, GPU, threads.
std::vector<std::string> rank_table(const RankMap& map);

}  // namespace dinoxx::doctor
