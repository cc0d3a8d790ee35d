#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "param_layout.hpp"

namespace dinoxx {

/// What ranks share among them (ZeRO: Rajbhandari et al. 2020); each is also what stands before it.
enum class Sharing {
  kState,     ///< masters, the optimizer's state and averages in the masters' type (ZeRO-1)
  kGradient,  ///< no rank holds the whole gradient (ZeRO-2)
  kWeights,   ///< of the backbone's blocks but the last, weights are brought together for as long as they are used (ZeRO-3)
};

/// The ranks of a run, as its state is spread over them. Where several groups share the shards alike (inside each node, say), a rank of one
/// group and the ranks of its number in the others own the same part.
struct SyncGroups {
  std::shared_ptr<Communicator> shards;   ///< that share the state; null: each rank has all
  std::shared_ptr<Communicator> fellows;  ///< that own the same part; all ranks where each has all
  Sharing sharing = Sharing::kState;
  bool columns = false;  ///< the prototypes of heads are spread over the ranks that share the state; not with Sharing::kState
};

/// Neighbouring buckets of one block together until they have `bytes`: what travels as one. The layout, and so checkpoints, stay as they
/// are.
std::vector<Bucket> messages_of(const std::vector<Bucket>& buckets, int64_t bytes, int64_t element_size);

/// The flat buffers of a network, spread over ranks. Every message is cut into as many equal parts as there are ranks, and rank r owns part
/// r of each; its parts lie one behind the other in a buffer of its own, its shard. So a reduce-scatter of a message gives each rank what
/// it owns of it, and an all-gather brings the message together, both without a copy.
class Shards {
 public:
  /// `layout` has been built for ranks->size() ranks, and by block to share weights. `message_bytes`: as messages_of, of elements of
  /// `element_size` bytes. Collective.
  Shards(const ParamLayout& layout, std::shared_ptr<Communicator> ranks, int64_t message_bytes, int64_t element_size, Sharing sharing);

  const std::shared_ptr<Communicator> ranks;
  const std::shared_ptr<Communicator> weights;  ///< the same ranks, for the blocks' weights, whose order of calls is another
  const std::vector<Bucket> messages;           ///< of the whole layout
  const Sharing sharing;
  const int blocks;  ///< whose weights come and go: those before it; 0 where none do
  /// Of this rank's shard: the segments of the whole layout, in their order, with what this rank owns of each, which may be nothing. No
  /// buckets. The hash is that of the whole.
  const ParamLayout owned;

  /// Whether this message never travels: the network itself has what this rank owns of it, and its gradient is complete.
  bool by_columns(size_t m) const { return messages[m].columns; }
  /// Whether this message's weights come and go.
  bool comes_and_goes(size_t m) const { return messages[m].block >= 0 && messages[m].block < blocks; }
  bool any_columns() const;
  /// Of a flat buffer [layout.numel].
  at::Tensor message(const at::Tensor& whole, size_t m) const;
  /// Of a shard's buffer [owned.numel]: what this rank owns of the message.
  at::Tensor part(const at::Tensor& shard, size_t m) const;
};

}  // namespace dinoxx
