#pragma once
#include "build.hpp"
#include "method/method.hpp"
#include "optim/ema.hpp"
#include "optim/optimizer.hpp"
#include "parallel/flat_state.hpp"

namespace dinoxx {

/// Everything that a step changes, and so everything that a checkpoint holds.
struct TrainState {
  /// Student and teacher with equal weights, a function of the seed, on `device`. `compute`: float32, bfloat16 (masters float32) or, for
  /// tests, float64.
  TrainState(const Config& config, const MethodSpec& spec, at::ScalarType compute, at::Device device = at::kCPU,
             const SyncGroups& groups = {});
  TrainState(const TrainState&) = delete;

  Network student, teacher;
  NamedTensors student_buffers, teacher_buffers;  ///< running statistics; empty for most networks
  SyncGroups groups;
  ParamLayout layout;                    ///< of the whole network
  std::shared_ptr<const Shards> shards;  ///< of all networks that learn or are averages; null: each rank has all
  /// Of what the flat buffers hold on this rank.
  const ParamLayout& owned() const { return shards ? shards->owned : layout; }
  FlatState student_flat, teacher_flat;
  std::string optimizer_name;
  std::unique_ptr<Optimizer> optimizer;
  std::vector<SegmentRule> rules, frozen_rules;  ///< of the segments; of a step that freezes the last layer
  std::optional<Thaw> thaw;                      ///< of networks that go on from other weights; its share is the step's
  /// Of a step with these values.
  std::vector<SegmentRule> rules_of(const StepValues& values) const;
  /// What the average of such a step is taken of: all, or without what of the backbone rests, in the student or in the average.
  std::optional<std::vector<FlatRange>> averaged(const StepValues& values, const std::vector<SegmentRule>& rules) const;
  double clip = 0;
  bool clip_by_module = false;
  std::optional<Centre> centre, patch_centre;
  struct Gram {
    Network network;
    FlatState flat;
  };
  std::unique_ptr<Gram> gram;              ///< the Gram teacher where it is a network of its own, or the original of init.anchor
  std::unique_ptr<Network> frozen;         ///< the teacher of a distillation; not in checkpoints, it comes from its own file
  std::unique_ptr<FlatState> frozen_flat;  ///< where its weights are shared
  /// Shares the frozen teacher's weights too, where those of the other networks are. Collective.
  void share_frozen();
  int64_t step = 0;       ///< steps done
  uint64_t position = 0;  ///< images seen by all ranks together; the next batch begins here
};

}  // namespace dinoxx
