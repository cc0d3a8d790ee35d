#pragma once
#include <numeric>

#include "doctor/machine/machine_findings.hpp"

namespace dinoxx::doctor {

/// `ranks` ranks on each of the hosts, each on a machine of `cores` cores that it may use all of, without anything to complain about.
inline RankMap sound_ranks(const std::vector<std::string>& hosts, int ranks, int cores) {
  RankMap map;
  for (const std::string& host : hosts)
    for (int local = 0; local < ranks; ++local) {
      HostFacts facts;
      facts.rank = static_cast<int>(map.size());
      facts.local_rank = local;
      facts.host = host;
      facts.launcher = "mpirun";
      facts.cpus.resize(static_cast<size_t>(cores));
      std::iota(facts.cpus.begin(), facts.cpus.end(), 0);
      facts.online = cores;
      facts.numa = {facts.cpus};
      facts.cpu_model = "a processor";
      facts.simd = "avx512";
      facts.threads = std::max(cores / ranks, 1);
      facts.shm_free = facts.shm_size = int64_t{16} << 30;
      facts.memory_free = int64_t{16} << 30;
      facts.versions = {{"dinoxx", "0.1.0 (abc)"}, {"MPI", "Open MPI v4.1.4"}};
      map.push_back(facts);
    }
  return map;
}

/// A GPU of its own for each rank.
inline void give_gpus(RankMap& map) {
  for (HostFacts& facts : map) {
    facts.gpus = 8;
    facts.gpu = facts.local_rank;
    facts.gpu_name = "H100";
    facts.gpu_address = "0000:0" + std::to_string(facts.local_rank) + ":00.0";
    facts.gpu_id = facts.gpu_address;
    facts.on_gpu = true;
  }
}

inline size_t of_severity(const std::vector<Finding>& findings, Severity severity) {
  Verdict verdict;
  verdict.add(findings);
  return verdict.count(severity);
}

}  // namespace dinoxx::doctor
