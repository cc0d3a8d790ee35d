#pragma once
#include <string>
#include <vector>

#include "links.hpp"
#include "memory.hpp"

namespace dinoxx::plan {

/// How a configuration is spread over devices.
struct Spread {
  RankGroup ranks;
  int64_t batch = 1;  ///< images of a rank in a step
  Policy policy = Policy::kDdp;
  Recompute recompute;
  bool shard_in_node = false;  ///< shards within a node instead of over all ranks
  int64_t parts = 1;           ///< in which a rank computes its images (train.accumulate)
  int64_t shards() const { return policy == Policy::kDdp ? 1 : (shard_in_node ? ranks.per_node : ranks.size()); }
  int64_t at_once() const { return batch / parts; }
};

/// Among whom: all ranks, those of a node, or those with the same place on every node.
enum class Span { kAll, kNode, kAcross };
RankGroup group_of(Span span, const RankGroup& ranks);

/// Equal collectives of one step.
struct StepCollective {
  std::string what;
  Collective kind = Collective::kAllReduce;
  double bytes = 0;  ///< of the whole tensor, each
  double count = 1;
  Span span = Span::kAll;
  bool overlaps = false;  ///< runs while the backward pass computes
};

/// All collectives that a rank takes part in during one step. Where shards lie within each node, gradients are reduced there first.
std::vector<StepCollective> collectives_of(const Model& model, const Spread& spread);

/// Bytes of the tensors of all of them.
double tensor_bytes(const std::vector<StepCollective>& collectives);
double call_count(const std::vector<StepCollective>& collectives);
/// Bytes that a rank sends, of one or of all.
double sent_bytes(const StepCollective& collective, const RankGroup& ranks);
double sent_bytes(const std::vector<StepCollective>& collectives, const RankGroup& ranks);

}  // namespace dinoxx::plan
