#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "flat_state.hpp"

namespace dinoxx {

/// What happened to a bucket, or to buckets that travel together, in one backward, in order. `sequence` counts events of this step over all
/// buckets.
struct BucketEvent {
  enum class Kind { kPosted, kCompleted, kBackwardEnded } kind;
  int bucket = -1;
  int64_t bytes = 0;
  int sequence = 0;
};

/// How gradients come into the flat buffer, and how much of it travels at once.
struct GradientPath {
  bool gathered = false;      ///< .grad stays empty: each fresh gradient is taken, and a bucket's are written when the last has come
  int64_t message_bytes = 0;  ///< neighbouring buckets travel together until they have as many; of a sharded network its shards say
  bool bf16 = false;          ///< rounded to bfloat16 before the ranks add them up (ReduceOp::kSumOnWire); not where there is one rank
};
/// CPU: autograd adds into .grad, views of the buffer, and buckets travel as they are laid out. GPU: gathered, one launch in the place of
/// one for each parameter, and 25 MB at once, which NCCL needs for the speed of its links.
GradientPath gradient_path(at::Device device);

/// Gradient averaging over ranks, overlapped with backward: hooks count ready segments, a bucket is posted when all of its segments have
/// their gradient, always in index order; every hook also drives the collectives under way (MPI makes no progress by itself). The same at
/// one rank as at many.
///
/// Of a sharded network each bucket is reduce-scattered to its owners, and where several groups of ranks share the shards alike, each
/// owner's part is then summed over its fellows. Where no rank holds the whole gradient (ZeRO-2), a bucket has a buffer from its last
/// gradient until it has travelled. A parameter of columns (Bucket::columns) has its whole gradient already: only the fellows' is missing.
class GradientSync {
 public:
  /// Puts a hook on every trainable parameter (its one post-accumulate slot); the destructor takes them off. `state` must outlive this and
  /// have gradients. `comm`: the ranks that own the same part as this one, all where the network is not sharded. `path`: gradient_path of
  /// the state's device where it is absent; gathered without a whole gradient. While gathered gradients are in use parameters have no
  /// .grad; the destructor gives them their views back, where there is a whole gradient.
  GradientSync(std::shared_ptr<Communicator> comm, const ParamLayout& layout, const NamedTensors& parameters, FlatState& state,
               std::optional<GradientPath> path = std::nullopt);
  ~GradientSync();
  /// Before the backward pass(es) of a step, with the flat gradient zeroed: arms the hooks. `accumulations`: how many times each
  /// parameter's gradient is added to before finish() (the number of backward passes); a bucket leaves at the last one, and one more is an
  /// Error, because it would miss the all-reduce. Not `all`: some parameters get none on purpose, and finish() does not ask for them.
  void begin(int accumulations = 1, bool all = true);
  /// Between two of several backward passes. Without a whole gradient every pass is averaged by itself, into the owners' sum.
  void end_pass();
  /// Drives the collectives under way, for long stretches without hooks. Called by the hooks.
  void progress();
  /// After backward: posts what is left, waits, divides by world size. In the first step a trainable parameter that got no gradient is an
  /// Error naming it, because it holds back its bucket and all that follow; later its gradient counts as zero.
  void finish();
  const std::vector<BucketEvent>& events() const;  ///< of the last begin()..finish()
  /// Share of gradient bytes whose all-reduce had completed when backward ended, last step.
  double overlapped_share() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The parameters of comm's rank 0 on all of its ranks, which own the same part of them; publishes. Collective, where the network is
/// sharded over the ranks of its shards as well.
void broadcast_parameters(Communicator& comm, FlatState& state);

}  // namespace dinoxx
