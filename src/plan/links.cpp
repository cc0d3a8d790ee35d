#include "links.hpp"

#include <algorithm>
#include <cmath>

namespace dinoxx::plan {

double sent_bytes(Collective collective, double bytes, int64_t ranks) {
  const auto n = static_cast<double>(ranks);
  return (collective == Collective::kAllReduce ? 2 : 1) * (n - 1) / n * bytes;
}

double collective_seconds(const GpuFacts& gpu, Collective collective, double bytes, const RankGroup& ranks) {
  if (ranks.size() < 2) return 0;
  const bool across = ranks.nodes > 1;
  const double adapters = static_cast<double>(ranks.per_node) * gpu.link_across;
  const double rate = !across ? gpu.link_node : (ranks.per_node > 1 ? std::min(gpu.link_node, adapters) : adapters);
  const double passes = collective == Collective::kAllReduce ? 2 : 1;
  const double hops_across = across ? static_cast<double>(ranks.nodes) : 0;
  const double hops_node = static_cast<double>(ranks.size()) - 1 - (across ? hops_across - 1 : 0);
  const double ring =
      passes * (hops_node * gpu.latency_node + hops_across * gpu.latency_across) + sent_bytes(collective, bytes, ranks.size()) / rate;
  if (collective != Collective::kAllReduce) return ring;
  const double levels_node = std::ceil(std::log2(static_cast<double>(ranks.per_node)));
  const double levels_across = std::ceil(std::log2(static_cast<double>(ranks.nodes)));
  const double tree = 2 * (levels_node * gpu.latency_node + levels_across * gpu.latency_across) + 2 * bytes / rate;
  return std::min(ring, tree);
}

}  // namespace dinoxx::plan
