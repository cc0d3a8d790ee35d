#pragma once
#include "plan.hpp"

namespace dinoxx::plan {

/// What a plan proposes, and why: policy, recomputing, batch, checkpoints; where nothing fits, what it needs and what would fit.
std::vector<std::string> advice(const Plan& plan);

/// "ddp", "zero2 with model.recompute = block"; "zero1/node": shards within each node.
std::string way_name(const Spread& spread);
/// "model.recompute = block", "model.recompute = block and model.recompute_every = 2".
std::string recompute_keys(const Recompute& recompute);
/// "loss.rows_at_once = 1024 and head.shard_prototypes"; empty: neither.
std::string prototype_keys(const Spread& spread);
/// What has to be set for this: "parallel.sync = zero2", "loss.rows_at_once = 1024"; without what the configuration has.
std::vector<std::string> keys_to_set(const Model& model, const Spread& spread);
/// "12.3 GB".
std::string gigabytes(double bytes);

}  // namespace dinoxx::plan
