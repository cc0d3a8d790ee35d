#pragma once
#include "plan.hpp"

namespace dinoxx::plan {

/// One way to run on these ranks; `batch` images of a rank.
Estimate estimate(const Model& model, const Request& request, const Spread& spread);
/// All ways that are weighed: the policies of this version (or the one that is asked for), as configured and, for a ViT, with
/// the other parts of model.recompute. Where nothing of these fits and there are prototypes, the same with loss.rows_at_once, and at last
/// with head.shard_prototypes: so much of them as it takes, or all where that is not enough.
std::vector<Estimate> ways(const Model& model, const Request& request, const RankGroup& ranks, int64_t batch);
/// Of these the fastest that fits, the simplest of equals (within one per cent); where none fits, the one that needs least.
size_t best_of(const std::vector<Estimate>& ways);
/// The most images that a rank may compute at once, at most `most`, as a multiple of what the configuration groups; 0: none.
int64_t largest_batch(const Model& model, const Request& request, const Spread& spread, int64_t most = 4096);
/// Images that must stay together on a rank: the least common multiple of the groups of masks, KoLeo and stochastic depth.
int64_t group_of(const Model& model);
/// The same for some number of GPUs.
RankGroup ranks_of(int64_t gpus, int64_t per_node);

}  // namespace dinoxx::plan
