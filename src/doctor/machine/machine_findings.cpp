#include "machine_findings.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "base/machine.hpp"

namespace dinoxx::doctor {
namespace {

using Value = std::function<std::string(const HostFacts&)>;

std::string bytes_text(int64_t bytes) {
  return bytes < 0 ? "no limit" : human_bytes(static_cast<double>(bytes));
}

// One finding where ranks differ, with the ranks of each value; nothing where all are the same.
void compare(const RankMap& map, const std::string& what, const Value& value, Severity severity, const std::string& advice,
             std::vector<Finding>& findings) {
  std::map<std::string, std::vector<int>> groups;
  for (const HostFacts& facts : map) groups[value(facts)].push_back(facts.rank);
  if (groups.size() < 2) return;
  std::vector<std::pair<std::string, std::vector<int>>> ordered(groups.begin(), groups.end());
  std::stable_sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) { return a.second.size() > b.second.size(); });
  std::vector<std::string> parts;
  parts.reserve(ordered.size());
  for (const auto& [text, ranks] : ordered)
    parts.push_back(fmt::format("{} on {}", text.empty() ? "none" : text, ranks_in_words(map, ranks)));
  findings.push_back({severity, what, "the same on all ranks", fmt::format("{}", fmt::join(parts, "; ")), advice});
}

std::string version_of(const HostFacts& facts, const std::string& name) {
  for (const auto& [key, value] : facts.versions)
    if (key == name) return value;
  return "";
}

// Ranks whose condition holds, in one finding for all of them.
std::vector<int> ranks_where(const RankMap& map, const std::function<bool(const HostFacts&)>& holds) {
  std::vector<int> ranks;
  for (const HostFacts& facts : map)
    if (holds(facts)) ranks.push_back(facts.rank);
  return ranks;
}

std::string more_cores(const HostFacts& facts, int wanted) {
  if (facts.launcher == "srun") return fmt::format("Start with srun --cpus-per-task {}, and ask for as many in the batch script", wanted);
  if (facts.launcher.empty()) return "Start without taskset, or give the container more cores";
  return fmt::format("Start with mpirun --bind-to none, or give each rank {} (mpirun --map-by slot:PE={})",
                     counted(static_cast<size_t>(wanted), "core"), wanted);
}

}  // namespace

std::vector<Finding> agreement_findings(const RankMap& map) {
  std::vector<Finding> findings;
  std::vector<std::string> names;
  for (const HostFacts& facts : map)
    for (const auto& [name, value] : facts.versions)
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  for (const std::string& name : names) {
    const bool driver = name == "driver";
    compare(
        map, driver ? "driver of the GPUs" : "version of " + name, [&](const HostFacts& f) { return version_of(f, name); },
        driver ? Severity::kWarn : Severity::kFault,
        driver ? "Have the same driver installed on all hosts"
               : "Start the same program on all hosts: one folder that all of them see, or a copy of it, with the same libraries",
        findings);
  }
  compare(
      map, "model of the GPU", [](const HostFacts& f) { return f.gpu_name; }, Severity::kWarn,
      "The slowest rank sets the pace of all: choose hosts with equal GPUs", findings);
  compare(
      map, "processor", [](const HostFacts& f) { return f.cpu_model; }, Severity::kWarn,
      "The slowest rank sets the pace of all: choose hosts with equal processors", findings);
  compare(
      map, "level of the kernels (DINOXX_SIMD)", [](const HostFacts& f) { return f.simd; }, Severity::kWarn,
      "Results of the ranks differ by rounding: set DINOXX_SIMD on all ranks to the lowest of these", findings);
  return findings;
}

std::vector<Finding> gpu_findings(const RankMap& map) {
  std::vector<Finding> findings;
  for (const HostFacts& facts : map)
    if (!facts.gpus_unusable.empty() && (facts.rank == 0 || map[static_cast<size_t>(facts.rank) - 1].host != facts.host))
      findings.push_back({Severity::kFault, "GPUs of " + facts.host, "GPUs that this program can use, or none", facts.gpus_unusable,
                          "Install a newer driver there, take a build with CUDA, or train with --train.device cpu"});
  const bool some = std::any_of(map.begin(), map.end(), [](const HostFacts& f) { return f.gpus > 0; });
  if (!some) return findings;
  if (const auto without = ranks_where(map, [](const HostFacts& f) { return f.gpus == 0 && f.gpus_unusable.empty(); }); !without.empty())
    findings.push_back({Severity::kFault, ranks_in_words(map, without), "GPUs, as the other ranks have", "none visible",
                        "Leave these hosts out, look at their driver (nvidia-smi) and at CUDA_VISIBLE_DEVICES"});
  for (const HostFacts& facts : map)
    if (facts.gpus > 0 && facts.gpu < 0)
      findings.push_back({Severity::kFault, ranks_in_words(map, {facts.rank}), "a GPU of its own",
                          fmt::format("{} visible and more ranks on that host", counted(static_cast<size_t>(facts.gpus), "GPU")),
                          "Start as many ranks on a host as it has GPUs, and look at CUDA_VISIBLE_DEVICES"});
  std::map<std::pair<std::string, std::string>, std::vector<int>> owners;
  for (const HostFacts& facts : map)
    if (!facts.gpu_id.empty()) owners[{facts.host, facts.gpu_id}].push_back(facts.rank);
  for (const auto& [gpu, ranks] : owners)
    if (ranks.size() > 1) {
      const HostFacts& first = map[static_cast<size_t>(ranks.front())];
      findings.push_back(
          {Severity::kFault, ranks_in_words(map, ranks), "a GPU for each rank",
           fmt::format("all on GPU {} at {}", first.gpu_name, first.gpu_address),
           "Start as many ranks on a host as it has GPUs; where the launcher shows each task its own, ask for one each (srun "
           "--gpus-per-task 1)"});
    }
  for (const HostFacts& facts : map) {
    if (facts.gpu < 0 || facts.gpu_numa < 0 || static_cast<size_t>(facts.gpu_numa) >= facts.numa.size()) continue;
    const std::vector<int>& near = facts.numa[static_cast<size_t>(facts.gpu_numa)];
    if (near.empty() || facts.cpus.empty()) continue;
    if (std::none_of(facts.cpus.begin(), facts.cpus.end(), [&](int cpu) { return std::binary_search(near.begin(), near.end(), cpu); }))
      findings.push_back({Severity::kWarn, ranks_in_words(map, {facts.rank}),
                          fmt::format("cores of NUMA node {}, where its GPU is", facts.gpu_numa), "cores of other nodes alone",
                          "Bind the ranks to the cores beside their GPUs, or start with mpirun --bind-to none"});
  }
  const auto width = [](const std::string& link) { return link.substr(std::min(link.rfind(" x"), link.size())); };
  for (const HostFacts& facts : map)
    if (!facts.pcie.empty() && !facts.pcie_best.empty() && width(facts.pcie) != width(facts.pcie_best))
      findings.push_back({Severity::kWarn, fmt::format("{}, GPU {}", ranks_in_words(map, {facts.rank}), facts.gpu_address),
                          fmt::format("a PCIe link of {}", facts.pcie_best), facts.pcie, "Have the card's seat and slot looked at"});
  return findings;
}

std::vector<Finding> core_findings(const RankMap& map) {
  std::vector<Finding> findings;
  const std::vector<double> cores = cores_of_ranks(map);
  for (const HostRanks& host : hosts_of(map)) {
    const HostFacts& first = map[static_cast<size_t>(host.ranks.front())];
    const auto n = static_cast<int>(host.ranks.size());
    const int job = cores_of_job(first);
    std::set<int> used;
    std::vector<int> starved, hungry;
    double least = 1e9;
    int threads = 0, wanted = 0;
    for (const int rank : host.ranks) {
      const HostFacts& facts = map[static_cast<size_t>(rank)];
      const double mine = cores[static_cast<size_t>(rank)];
      used.insert(facts.cpus.begin(), facts.cpus.end());
      if (mine <= 0) continue;
      least = std::min(least, mine);
      if (facts.on_gpu) {
        const int wants = facts.own_workers ? facts.workers + 2 : kLoaderCoresOfGpu;
        if (mine + 0.01 < wants) hungry.push_back(rank), wanted = std::max(wanted, wants);
      } else if (mine * 1.01 < facts.threads) {
        starved.push_back(rank);
        threads = std::max(threads, facts.threads);
      }
    }
    const auto bound = static_cast<int>(used.size());
    const int fair = std::max(job / n, 1);
    const bool wasted = bound > 0 && job > 0 && bound * 2 <= job && least < 0.75 * fair;
    if (wasted)
      findings.push_back({Severity::kWarn, ranks_in_words(map, host.ranks), fmt::format("the {} cores that the job has there", job),
                          fmt::format("a binding to {} of them{}", bound, n > bound ? fmt::format(", for {} ranks", n) : ""),
                          more_cores(first, fair)});
    if (!hungry.empty()) {
      const std::string advice = wasted              ? ""
                                 : job >= wanted * n ? more_cores(first, wanted)
                                 : job < first.online
                                     ? fmt::format("The machine has {} cores and the job {} of them. {}", first.online, job,
                                                   first.launcher == "srun" || first.launcher.empty()
                                                       ? fmt::format("Ask for more (srun --cpus-per-task {})", wanted)
                                                       : "Give the job or the container more of them")
                                     : "Training may wait for images; data.cache_decoded = yes and smaller images take less of the loader";
      findings.push_back({Severity::kWarn, ranks_in_words(map, hungry),
                          fmt::format("{} cores a rank: the loader has a GPU to feed", wanted), fmt::format("{} a rank", cores_text(least)),
                          advice});
    }
    if (!starved.empty() && !wasted) {
      const std::string why = first.quota > 0 && first.quota < bound ? fmt::format(" (a quota of {} cores)", cores_text(first.quota)) : "";
      const std::string advice =
          n > bound ? fmt::format("Start at most {} on that host", counted(static_cast<size_t>(std::max(bound, 1)), "rank"))
                    : fmt::format("Set OMP_NUM_THREADS={}, or give the ranks more cores", std::max(static_cast<int>(least), 1));
      findings.push_back({Severity::kWarn, ranks_in_words(map, starved), fmt::format("a core for each compute thread, {} a rank", threads),
                          fmt::format("oversubscribed cores: {} a rank{}", cores_text(least), why), advice});
    }
  }
  return findings;
}

std::vector<Finding> limit_findings(const RankMap& map, int64_t shards) {
  std::vector<Finding> findings;
  const auto add = [&](Severity severity, const std::function<bool(const HostFacts&)>& holds, const std::string& expected,
                       const std::function<std::string(const HostFacts&)>& found, const std::string& advice) {
    const std::vector<int> ranks = ranks_where(map, holds);
    if (!ranks.empty())
      findings.push_back({severity, ranks_in_words(map, ranks), expected, found(map[static_cast<size_t>(ranks.front())]), advice});
  };
  const auto ranks = static_cast<int64_t>(map.size());
  const auto below = [](const Limit& limit, int64_t wanted) { return limit.hard >= 0 && limit.hard < wanted; };
  const int64_t needed = 64 + shards + ranks, wanted = 1024 + shards + ranks;
  add(
      Severity::kFault, [&](const HostFacts& f) { return below(f.files, needed); },
      fmt::format("at least {} open files{}", needed,
                  shards > 0 ? fmt::format(" for {}", counted(static_cast<size_t>(shards), "shard")) : ""),
      [](const HostFacts& f) { return fmt::format("a limit of {} (ulimit -Hn)", f.files.hard); },
      "Raise it: ulimit -n in front of the launcher, or LimitNOFILE of the service that starts jobs");
  add(
      Severity::kWarn, [&](const HostFacts& f) { return below(f.files, wanted) && !below(f.files, needed); },
      fmt::format("room for {} open files: shards, workers and connections of ranks", wanted),
      [](const HostFacts& f) { return fmt::format("a limit of {} (ulimit -Hn)", f.files.hard); },
      "Raise it: ulimit -n in front of the launcher, or LimitNOFILE of the service that starts jobs");
  add(
      Severity::kWarn, [](const HostFacts& f) { return !f.rdma.empty() && f.locked_memory.soft >= 0; },
      "unlimited locked memory for InfiniBand or RoCE",
      [](const HostFacts& f) { return fmt::format("{} (ulimit -l)", bytes_text(f.locked_memory.soft)); },
      "Raise it: LimitMEMLOCK=infinity of slurmd or of sshd, memlock in /etc/security/limits.conf");
  add(
      Severity::kNote, [](const HostFacts& f) { return f.core_size.soft == 0; }, "core dumps, for whoever has to look into a crash",
      [](const HostFacts&) { return std::string("none (ulimit -c 0)"); }, "To have them: ulimit -c unlimited in front of the launcher");
  std::map<std::string, int64_t> on_host;
  for (const HostFacts& facts : map) ++on_host[facts.host];
  constexpr int64_t kShmOfRank = 32 << 20;
  add(
      Severity::kWarn,
      [&](const HostFacts& f) { return on_host[f.host] > 1 && f.shm_free >= 0 && f.shm_free < kShmOfRank * on_host[f.host]; },
      fmt::format("{} of shared memory a rank in /dev/shm", human_bytes(static_cast<double>(kShmOfRank))),
      [&](const HostFacts& f) {
        return fmt::format("{} free for {} ranks", human_bytes(static_cast<double>(f.shm_free)), on_host[f.host]);
      },
      "Remove what ended jobs have left in /dev/shm, or start the container with more of it (its shm-size)");
  return findings;
}

std::vector<Finding> machine_findings(const RankMap& map, int64_t shards) {
  std::vector<Finding> findings = agreement_findings(map);
  for (const std::vector<Finding>& more : {gpu_findings(map), core_findings(map), limit_findings(map, shards)})
    findings.insert(findings.end(), more.begin(), more.end());
  return findings;
}

}  // namespace dinoxx::doctor
