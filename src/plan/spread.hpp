#pragma once
#include <string>

#include "cost/model.hpp"
#include "links.hpp"

namespace dinoxx::plan {

/// Who keeps what of the optimizer's state: see docs/plan.md.
enum class Policy { kDdp, kZero1, kZero2, kZero3 };
std::string policy_name(Policy policy);
/// UsageError for an unknown one, with the nearest name.
Policy policy_from_name(const std::string& name);

/// How a configuration is spread over devices.
struct Spread {
  RankGroup ranks;
  int64_t batch = 1;  ///< images of a rank in a step
  Policy policy = Policy::kDdp;
  Recompute recompute;
  bool shard_in_node = false;  ///< shards within a node instead of over all ranks
  int64_t parts = 1;           ///< in which a rank computes its images (train.accumulate)
  Prototypes prototypes;
  int64_t shards() const { return policy == Policy::kDdp ? 1 : (shard_in_node ? ranks.per_node : ranks.size()); }
  int64_t at_once() const { return batch / parts; }
  /// Whether ranks have a part of the prototypes each: with the policies that share gradients, where there are several ranks.
  bool shares_prototypes() const { return prototypes.shared && shards() > 1 && (policy == Policy::kZero2 || policy == Policy::kZero3); }
};

}  // namespace dinoxx::plan
