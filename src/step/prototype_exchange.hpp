#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "method/method.hpp"
#include "parallel/sync_groups.hpp"

namespace dinoxx {

/// Prototypes that ranks share by columns (parallel.shard_prototypes): what stands in front of the prototypes travels to all ranks of the
/// group, each makes the logits of its own prototypes for the rows of all, and the losses sum over ranks (Scores). Each row is
/// `bottleneck` values, where a gradient of the prototypes would be K of them.
///
/// Forward and backward are collectives of the group, with communicators of their own; this must outlive backward.
class PrototypeExchange {
 public:
  /// Of the ranks of `groups` that share the state. Collective.
  explicit PrototypeExchange(const SyncGroups& groups);

  const PrototypeShards& shards() const { return shards_; }
  /// [V, B, d] -> [V, R B, d]: of each view the rows of rank 0, of rank 1, ... Differentiable.
  at::Tensor views(const at::Tensor& rows) const;
  /// Rows of masked patches differ from rank to rank: how many all have, before patches(). The masks' weights, slots and crops become those
  /// of all ranks' rows. The host waits for a GPU.
  void gather_masks(MaskInputs& masks, int64_t batch);
  /// [M, d] -> [sum M, d], rank by rank. Differentiable.
  at::Tensor patches(const at::Tensor& rows) const;
  /// This rank's part of [K, ...]; as it is where that is all there is.
  at::Tensor own(const at::Tensor& of_prototypes, int64_t prototypes) const;
  /// A sum over all rows for this rank's prototypes, as its part of a sum over ranks: [K], with zeros where others have them. The rows are
  /// counted by rank 0.
  CentreSum spread(const CentreSum& own, int64_t prototypes) const;

 private:
  std::shared_ptr<Communicator> ranks_, fellows_;
  PrototypeShards shards_;
  std::vector<int64_t> counts_;  // of masked patches, by rank
};

}  // namespace dinoxx
