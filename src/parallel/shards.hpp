#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "param_layout.hpp"

namespace dinoxx {

/// The ranks of a run, as its state is spread over them. Where several groups share the shards alike (inside each node, say), a rank of one
/// group and the ranks of its number in the others own the same part.
struct SyncGroups {
  std::shared_ptr<Communicator> shards;   ///< that share the state; null: each rank has all
  std::shared_ptr<Communicator> fellows;  ///< that own the same part; all ranks where each has all
  bool whole_gradient = true;             ///< see Shards
};

/// Neighbouring buckets together until they have `bytes`: what travels as one. The layout, and so checkpoints, stay as they are.
std::vector<Bucket> messages_of(const std::vector<Bucket>& buckets, int64_t bytes, int64_t element_size);

/// The flat buffers of a network, spread over ranks (ZeRO: Rajbhandari et al. 2020). Every message is cut into as many equal parts as there
/// are ranks, and rank r owns part r of each; its parts lie one behind the other in a buffer of its own, its shard. So a reduce-scatter of
/// a message gives each rank what it owns of it, and an all-gather brings the message together, both without a copy.
class Shards {
 public:
  /// `layout` has been built for ranks->size() ranks. `message_bytes`: as messages_of, of elements of `element_size` bytes.
  /// whole_gradient: each rank holds the gradient of the whole network, and of its shard the average (ZeRO-1); else no rank does (ZeRO-2).
  Shards(const ParamLayout& layout, std::shared_ptr<Communicator> ranks, int64_t message_bytes, int64_t element_size, bool whole_gradient);

  const std::shared_ptr<Communicator> ranks;
  const std::vector<Bucket> messages;  ///< of the whole layout
  const bool whole_gradient;
  /// Of this rank's shard: the segments of the whole layout, in their order, with what this rank owns of each, which may be nothing. No
  /// buckets. The hash is that of the whole.
  const ParamLayout owned;

  /// Of a flat buffer [layout.numel].
  at::Tensor message(const at::Tensor& whole, size_t m) const;
  /// Of a shard's buffer [owned.numel]: what this rank owns of the message.
  at::Tensor part(const at::Tensor& shard, size_t m) const;
  /// Posts the all-gather of all messages: whole [layout.numel] <- shard [owned.numel] of all ranks. Collective.
  std::vector<std::unique_ptr<Work>> gather(const at::Tensor& shard, const at::Tensor& whole) const;
};

}  // namespace dinoxx
