#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "param_layout.hpp"
#include "shards.hpp"

namespace dinoxx {

/// The flat buffers of one network. Construction moves the parameters' values into `master` and makes the parameters views of `values`.
/// Gradients (requires_grad networks) are in the master's type, whatever the network computes in. Never call zero_grad() on a module or an
/// optimizer, it drops the views: zero_grad() here. No change of device or type after construction. Padding is zero.
///
/// N: elements of the layout; n: of them on this rank, N where the network is not sharded (Shards), else its shard. Where nothing is
/// sharded and the network computes in the masters' type, `master`, `compute` and `values` are one tensor.
struct FlatState {
  /// `parameters` are matched to the layout by name. `compute_dtype` absent: the type that the parameters have. with_grad: trainable
  /// parameters get requires_grad and, where the whole gradient is held, a view of it; without, none requires a gradient. `shards`, of the
  /// same layout: null where each rank has all. Every rank hands over the same values. A parameter that is spread by columns shrinks to
  /// this rank's (column_range). Error when names or shapes are not the layout's.
  FlatState(const ParamLayout& layout, const NamedTensors& parameters, bool with_grad, at::ScalarType master_dtype = at::kFloat,
            std::optional<at::ScalarType> compute_dtype = std::nullopt, std::shared_ptr<const Shards> shards = nullptr);
  FlatState(FlatState&&) noexcept;
  ~FlatState();
  /// compute <- master, a cast; nothing when they are the same storage.
  void cast();
  /// values <- compute of all ranks: posts it, so that it may run behind other work. Nothing where the network is not sharded. Collective.
  void post_values();
  /// Waits for what post_values() has posted. Weights that come and go (Sharing::kWeights) are brought when they are held.
  void wait_for_values();
  /// After the masters were written: cast(), and the network has the values of all ranks. Collective where the network is sharded.
  void publish();
  /// The weights of a block of the backbone are there until the handle goes, and those of the next one (of the one before it where
  /// `backward`) are on their way. An empty handle where they do not come and go. Collective. This state must outlive the handle and stay
  /// in place.
  std::shared_ptr<void> hold_block(size_t block, bool backward);
  /// Share of the bytes of blocks that had come before they were held, since the last call: what travelled behind computation. 1 where none
  /// did. On a GPU the host is ahead of the work that it posts, and this says nothing.
  double share_in_time();
  /// All of them, for work that ranks do not do in step.
  std::vector<std::shared_ptr<void>> hold_all();
  /// That the buffers hold now.
  size_t bytes() const;
  void zero_grad();
  /// Adds up over the ranks that share the buffers, in place; nothing where the network is not sharded. Collective.
  void sum_over_shards(const at::Tensor& parts) const;
  /// All values of a parameter, by its number in the whole `layout`, on the CPU, from `buffer` [n] of 4 or 8 bytes an element; undefined
  /// where it is not wanted. Collective over the ranks that share the buffers.
  at::Tensor whole_segment(const ParamLayout& layout, const at::Tensor& buffer, size_t segment, bool wanted) const;

  at::Tensor master;      ///< [n] float32 (float64 in tests)
  at::Tensor compute;     ///< [n] in the type that the network computes in
  at::Tensor grad;        ///< [n] in the master's type; undefined without gradient
  at::Tensor values;      ///< [N] what the network's parameters are views of; undefined where some come and go, or lie in `compute`
  at::Tensor whole_grad;  ///< [N] what their gradients are views of: `grad` where nothing is sharded; undefined where no rank holds it
  std::shared_ptr<const Shards> shards;  ///< null: each rank has all

 private:
  struct Block;
  at::Tensor message_values(size_t m) const;
  void bring(Block& block);
  void let_go(size_t block);
  std::vector<std::unique_ptr<Work>> on_their_way_;
  std::vector<at::Tensor> by_message_;  // where some come and go: the values of each message; of columns undefined
  std::vector<Block> blocks_;           // that come and go
  int64_t brought_ = 0, in_time_ = 0;   // bytes that blocks waited for, and that were there
};

}  // namespace dinoxx
