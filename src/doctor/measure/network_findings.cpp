#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "collectives.hpp"
#include "doctor/machine/system_text.hpp"

namespace dinoxx::doctor {
namespace {

constexpr double kSlowPair = 0.4;       // of the fastest pair
constexpr double kSlowNetwork = 0.2;    // of what the link promises
constexpr double kOfCopies = 0.03;      // of memory copies: an all-reduce on one host copies several times, and adds up
constexpr double kLatencyHost = 1e-3;   // seconds of the smallest collective, within a host
constexpr double kLatencyHosts = 5e-3;  // and between hosts

const CollectiveTime* all_reduce(const std::vector<CollectiveTime>& times, bool largest) {
  const CollectiveTime* found = nullptr;
  for (const CollectiveTime& time : times)
    if (time.collective == Collective::kAllReduce && (!found || (largest ? time.bytes > found->bytes : time.bytes < found->bytes)))
      found = &time;
  return found;
}

// The host that all slow pairs have in common, and that has no fast pair; empty when there is none.
std::string slow_host(const RankMap& map, const std::vector<PairTime>& pairs, const std::vector<PairTime>& slow) {
  std::map<std::string, std::pair<size_t, size_t>> counts;  // slow pairs and pairs of each host
  const auto count = [&](const std::vector<PairTime>& some, size_t std::pair<size_t, size_t>::*which) {
    for (const PairTime& pair : some)
      for (const int rank : {pair.first, pair.second}) ++(counts[map[static_cast<size_t>(rank)].host].*which);
  };
  count(slow, &std::pair<size_t, size_t>::first);
  count(pairs, &std::pair<size_t, size_t>::second);
  for (const auto& [host, of] : counts)
    if (slow.size() > 1 && of.first == slow.size() && of.second == of.first) return host;
  return "";
}

std::string three_digits(double value) {
  return value >= 100 ? fmt::format("{:.0f}", value) : value >= 10 ? fmt::format("{:.1f}", value) : fmt::format("{:.2f}", value);
}

}  // namespace

std::vector<PairTime> slow_pairs(const std::vector<PairTime>& pairs) {
  double best = 0;
  for (const PairTime& pair : pairs) best = std::max(best, pair.bandwidth);
  std::vector<PairTime> slow;
  for (const PairTime& pair : pairs)
    if (pair.bandwidth < kSlowPair * best) slow.push_back(pair);
  return slow;
}

LinkPromise link_promise(const RankMap& map, double copies) {
  const std::vector<HostRanks> hosts = hosts_of(map);
  LinkPromise promise;
  if (map.size() < 2) return {0, 0, "one rank: there are no links"};
  if (hosts.size() < 2) {
    promise = {copies, kOfCopies, "memory copies of all ranks at once"};
    if (!std::all_of(map.begin(), map.end(), [](const HostFacts& f) { return f.on_gpu; })) return promise;
    promise = {0, kSlowNetwork, ""};
    for (const HostFacts& facts : map) {
      const double bytes = bytes_of_pcie(facts.pcie_best);
      if (bytes <= 0) return {0, 0, "not known: the system does not tell the PCIe link of a GPU"};
      if (promise.bandwidth == 0 || bytes < promise.bandwidth)
        promise = {bytes, kSlowNetwork, fmt::format("{}; with NVLink it is more, which is not looked at", facts.pcie_best)};
    }
    return promise;
  }
  for (const HostRanks& host : hosts) {
    std::pair<std::string, double> best{"", 0};
    for (const auto& [name, megabits] : map[static_cast<size_t>(host.ranks.front())].links)
      if (megabits > best.second) best = {name, megabits};
    if (best.second <= 0) return {0, 0, fmt::format("not known: {} does not tell the speed of its network interfaces", host.host)};
    const double bytes = best.second * 1e6 / 8;
    if (promise.bandwidth == 0 || bytes < promise.bandwidth)
      promise = {bytes, kSlowNetwork, fmt::format("{} of {}, {:.4g} Gbit/s", best.first, host.host, best.second / 1000)};
  }
  return promise;
}

std::vector<Finding> network_findings(const RankMap& map, const std::vector<CollectiveTime>& times, const LinkPromise& promise,
                                      const std::vector<PairTime>& pairs) {
  std::vector<Finding> findings;
  if (map.size() < 2) return findings;
  const bool hosts = hosts_of(map).size() > 1;
  if (const CollectiveTime* small = all_reduce(times, false)) {
    const double most = hosts ? kLatencyHosts : kLatencyHost;
    if (small->seconds > most)
      findings.push_back(
          {Severity::kWarn, fmt::format("all-reduce of {} bytes", small->bytes),
           fmt::format("at most {} {}", duration_text(most), hosts ? "between hosts" : "within a host"), duration_text(small->seconds),
           "Ranks that share a core answer late: start at most as many as there are cores, with mpirun --bind-to none or srun "
           "--cpus-per-task; where there are more even so, OMPI_MCA_mpi_yield_when_idle=1 in their environment helps"});
  }
  if (const CollectiveTime* large = all_reduce(times, true); large && large->bus_bandwidth() < promise.share * promise.bandwidth)
    findings.push_back(
        {Severity::kWarn, fmt::format("all-reduce of {:.0f} MiB", static_cast<double>(large->bytes) / (1 << 20)),
         fmt::format("a bus bandwidth of {} at least, {:.0f} % of the {} of {}", rate_text(promise.share * promise.bandwidth),
                     100 * promise.share, rate_text(promise.bandwidth), promise.what),
         rate_text(large->bus_bandwidth()),
         !hosts ? "Look for other programs on these cores, and for ranks that share a core"
                : "Look which interface is used: mpirun --mca btl_tcp_if_include, or NCCL_SOCKET_IFNAME and NCCL_IB_HCA with GPUs"});
  const std::vector<PairTime> slow = slow_pairs(pairs);
  if (slow.empty()) return findings;
  const double best = std::max_element(pairs.begin(), pairs.end(), [](const PairTime& a, const PairTime& b) {
                        return a.bandwidth < b.bandwidth;
                      })->bandwidth;
  if (const std::string host = slow_host(map, pairs, slow); !host.empty()) {
    findings.push_back({Severity::kWarn, "network of " + host, fmt::format("about {}, as other pairs of hosts have", rate_text(best)),
                        fmt::format("{} in each pair with it", rate_text(slow.front().bandwidth)),
                        "Leave the host out, and have its cable, port and interface looked at"});
    return findings;
  }
  for (const PairTime& pair : slow)
    findings.push_back({Severity::kWarn, fmt::format("{} and {}", ranks_in_words(map, {pair.first}), ranks_in_words(map, {pair.second})),
                        fmt::format("about {}, as the fastest pair has", rate_text(best)), rate_text(pair.bandwidth),
                        "Have the link between the two looked at, or leave one of them out"});
  return findings;
}

std::string rate_text(double bytes_per_second) {
  const double rate = bytes_per_second;
  if (rate >= 1e9) return three_digits(rate / 1e9) + " GB/s";
  return rate >= 1e6 ? three_digits(rate / 1e6) + " MB/s" : three_digits(rate / 1e3) + " kB/s";
}

std::string duration_text(double seconds) {
  if (seconds >= 1) return three_digits(seconds) + " s";
  return seconds >= 1e-3 ? three_digits(seconds * 1e3) + " ms" : three_digits(seconds * 1e6) + " us";
}

}  // namespace dinoxx::doctor
