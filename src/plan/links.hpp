#pragma once
#include <cstdint>

#include "gpu_facts.hpp"

/// Collectives over links: bytes, and seconds by an alpha-beta model.
namespace dinoxx::plan {

enum class Collective { kAllReduce, kReduceScatter, kAllGather };

/// Ranks that take part: `nodes` with `per_node` on each.
struct RankGroup {
  int64_t nodes = 1, per_node = 1;
  int64_t size() const { return nodes * per_node; }
};

/// Bytes that one of n ranks sends by a ring (Thakur et al. 2005): with `bytes` the whole tensor, 2 (n - 1) / n of it for an all-reduce,
/// (n - 1) / n for a reduce-scatter or an all-gather.
double sent_bytes(Collective collective, double bytes, int64_t ranks);

/// Seconds of one collective over as many rings as a node has ranks, each of which enters and leaves every node once, at another rank: what
/// a rank sends goes at the rate of its link within the node or, where that is less, of all the node's adapters together; and a latency for
/// each hop. An all-reduce of small messages takes the tree instead, 2 log2(n) hops (NCCL has both and chooses so). 0 for one rank.
double collective_seconds(const GpuFacts& gpu, Collective collective, double bytes, const RankGroup& ranks);

}  // namespace dinoxx::plan
