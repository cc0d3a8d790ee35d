#include "rank_map.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/json_text.hpp"
#include "comm/gather.hpp"
#include "system_text.hpp"

namespace dinoxx::doctor {
namespace {

std::string numa_text(const HostFacts& facts) {
  std::vector<int> nodes;
  for (size_t node = 0; node < facts.numa.size(); ++node)
    if (std::any_of(facts.cpus.begin(), facts.cpus.end(),
                    [&](int cpu) { return std::binary_search(facts.numa[node].begin(), facts.numa[node].end(), cpu); }))
      nodes.push_back(static_cast<int>(node));
  return nodes.empty() ? "?" : cpu_list_text(nodes);
}

std::string gpu_text(const HostFacts& facts) {
  if (facts.gpu >= 0) return fmt::format("{} {} ({})", facts.gpu, facts.gpu_name, facts.gpu_address);
  return facts.gpus > 0 ? "none left" : "none";
}

}  // namespace

RankMap gather_facts(Communicator& comm, const HostFacts& mine) {
  RankMap map;
  for (const std::string& text : gather_texts(comm, json_text(json_of(mine)))) map.push_back(facts_of(nlohmann::json::parse(text)));
  return map;
}

std::vector<HostRanks> hosts_of(const RankMap& map) {
  std::vector<HostRanks> hosts;
  for (const HostFacts& facts : map) {
    const auto known = std::find_if(hosts.begin(), hosts.end(), [&](const HostRanks& h) { return h.host == facts.host; });
    if (known == hosts.end())
      hosts.push_back({facts.host, {facts.rank}});
    else
      known->ranks.push_back(facts.rank);
  }
  return hosts;
}

std::vector<double> cores_of_ranks(const RankMap& map) {
  std::vector<double> cores(map.size(), 0);
  for (const HostRanks& host : hosts_of(map)) {
    std::map<int, int> sharers;  // of each core
    for (const int rank : host.ranks)
      for (const int cpu : map[static_cast<size_t>(rank)].cpus) ++sharers[cpu];
    double all = 0, quota = 0;
    for (const int rank : host.ranks) {
      double& mine = cores[static_cast<size_t>(rank)];
      for (const int cpu : map[static_cast<size_t>(rank)].cpus) mine += 1.0 / sharers[cpu];
      all += mine;
      const double allowed = map[static_cast<size_t>(rank)].quota;
      if (allowed > 0) quota = quota > 0 ? std::min(quota, allowed) : allowed;
    }
    if (quota > 0 && quota < all)
      for (const int rank : host.ranks) cores[static_cast<size_t>(rank)] *= quota / all;
  }
  return cores;
}

int cores_of_job(const HostFacts& facts) {
  return facts.allocated > 0 && facts.online > 0 ? std::min(facts.allocated, facts.online) : std::max(facts.allocated, facts.online);
}

std::string ranks_in_words(const RankMap& map, const std::vector<int>& ranks) {
  std::vector<std::string> hosts;
  for (const HostRanks& host : hosts_of(map))
    if (std::any_of(ranks.begin(), ranks.end(), [&](int r) { return std::binary_search(host.ranks.begin(), host.ranks.end(), r); }))
      hosts.push_back(host.host);
  constexpr size_t kNamed = 4;
  const std::string more = hosts.size() > kNamed ? fmt::format(" and {} more hosts", hosts.size() - kNamed) : "";
  hosts.resize(std::min(hosts.size(), kNamed));
  return fmt::format("{} {} on {}{}", ranks.size() == 1 ? "rank" : "ranks", cpu_list_text(ranks),
                     fmt::join(hosts, more.empty() && hosts.size() == 2 ? " and " : ", "), more);
}

std::string cores_text(double cores) {
  const double rounded = std::round(cores * 10) / 10;
  return rounded == std::round(rounded) ? fmt::format("{:.0f}", rounded) : fmt::format("{:.1f}", rounded);
}

std::vector<std::string> rank_table(const RankMap& map) {
  std::vector<std::string> lines{fmt::format("{:>4}  {:<16} {:>5}  {:<14} {:<6} {:>7}  {:<11} {}", "rank", "host", "cores", "bound to",
                                             "NUMA", "threads", "kernels", "GPU")};
  const std::vector<double> cores = cores_of_ranks(map);
  for (const HostFacts& facts : map) {
    const std::string bound = static_cast<int>(facts.cpus.size()) < facts.online ? cpu_list_text(facts.cpus) : "all";
    lines.push_back(fmt::format("{:>4}  {:<16} {:>5}  {:<14} {:<6} {:>7}  {:<11} {}", facts.rank, facts.host,
                                cores_text(cores[static_cast<size_t>(facts.rank)]), facts.cpus.empty() ? "?" : bound, numa_text(facts),
                                facts.threads, facts.simd, gpu_text(facts)));
  }
  return lines;
}

}  // namespace dinoxx::doctor
