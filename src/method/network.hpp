#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/backbones/backbone.hpp"
#include "model/heads/projection_head.hpp"

namespace dinoxx {

/// A head and the name that its tensors get in state dicts.
struct HeadPlan {
  std::string name;  ///< "head", "dino_head", "ibot_head", "projector", "predictor"
  ProjectionConfig config;
};

/// Backbone and heads: what a student is and what a teacher is.
struct NetworkConfig {
  BackboneConfig backbone;
  HeadPlan head;                       ///< on the feature
  std::optional<HeadPlan> patch_head;  ///< on masked patches; absent: none, or `head` for both
  std::optional<HeadPlan> predictor;   ///< on what `head` gives (BYOL's student)
  std::vector<HeadPlan> guides{};      ///< on the feature: what it shall tell or not tell
};

/// One forward of all crops.
struct ForwardInput {
  std::span<const at::Tensor> crops_by_size;  ///< in view order, each [views_i * batch, C, S_i, S_i], rows [view][slot]
  std::span<const RowOrigin> origins;         ///< one per group: training (stochastic depth, batch statistics); empty: evaluation
  int64_t batch = 0;
  at::Tensor masked;             ///< [rows of the first group, N] bool: patches of it that the mask token replaces; undefined: none
  at::Tensor masked_rows;        ///< [M] int64, rows of the first group's patches as [rows * N, D] that go through the patch head
  bool patches = false;          ///< the first group's patches are wanted
  bool project_patches = false;  ///< all of these go through the patch head, in the place of masked_rows
  bool fixed_backbone = false;   ///< no gradient for the backbone
  bool patch_mean = false;       ///< the mean over all of these of what stands in front of the patch head's prototypes is wanted
  bool predict = false;          ///< logits go through the predictor
  bool projections = false;      ///< with it: what went into the predictor is wanted, too
  bool averaged = false;         ///< a teacher: of what origins bring, batch statistics alone
  bool bottlenecks = false;      ///< in the place of logits and patch_logits what stands in front of the prototypes, [..., bottleneck]
};

struct ForwardOutput {
  at::Tensor features;      ///< [V, B, D], V = sum of views_i
  at::Tensor patches;       ///< [rows of the first group, N, D]; undefined when not wanted
  at::Tensor logits;        ///< [V, B, K]; undefined without heads
  at::Tensor projections;   ///< [V, B, K], of which logits are the predictions; undefined when not wanted
  at::Tensor patch_logits;  ///< [M, K'], of project_patches [rows * N, K']; undefined without both
  at::Tensor patch_mean;    ///< [bottleneck] in float32 at least: the patch head's logits are linear in it; undefined when not wanted
};

class Network {
 public:
  /// All parameters are NaN until initialize() or a load. Error when a head's input does not fit what it stands on.
  Network(const NetworkConfig& config, at::ScalarType dtype);
  /// A backbone without heads, for features and patches alone.
  Network(const BackboneConfig& config, at::ScalarType dtype);

  const Backbone& backbone() const { return *backbone_; }
  /// "backbone.*", then each head's under its name, in order of execution. Handles: see NamedTensor.
  NamedTensors parameters() const;
  /// Running statistics, under the same prefixes.
  NamedTensors buffers() const;
  /// A function of the seed alone; two networks of equal configuration and seed are equal bit for bit.
  void initialize(uint64_t seed);
  /// Takes the parameters and buffers of a network of the same configuration.
  void copy_from(const Network& other);
  /// Of parameters and buffers; before anything holds views of them.
  void to(at::Device device);

  /// Crops of one group in one forward of the backbone, all features through ONE forward of the head (facebookresearch/dino utils.py,
  /// MultiCropWrapper); through a head with batch statistics each group by itself (BYOL). Error when a group's rows are no multiple of the
  /// batch.
  ForwardOutput forward(const ForwardInput& input) const;

  /// What forward gives, from rows [M, bottleneck] of a forward with `bottlenecks`. Error for heads without prototypes.
  at::Tensor logits(const at::Tensor& bottleneck) const { return heads_.front().head.logits(bottleneck); }
  at::Tensor patch_logits(const at::Tensor& bottleneck) const { return heads_[static_cast<size_t>(patch_head_)].head.logits(bottleneck); }

  /// [K, bottleneck] and [K', bottleneck]: what those rows are multiplied with. Error for heads without prototypes.
  at::Tensor prototypes() const { return heads_.front().head.prototypes(); }
  at::Tensor patch_prototypes() const { return heads_[static_cast<size_t>(patch_head_)].head.prototypes(); }

  /// What the head of guide `number` gives for features [M, D]: [M, outputs].
  at::Tensor guide(size_t number, const at::Tensor& features) const;

  /// See Backbone::hold_blocks_by.
  bool hold_blocks_by(HoldBlock hold) { return backbone_->hold_blocks_by(std::move(hold)); }
  /// Batch statistics over all ranks of `group`, kept or forgotten after a step: see BatchNorm.
  void set_statistics_group(const std::shared_ptr<Communicator>& group);
  void commit_statistics();
  void discard_statistics();

 private:
  struct NamedHead {
    std::string name;
    ProjectionHead head;
  };
  std::unique_ptr<Backbone> backbone_;
  std::vector<NamedHead> heads_;  // `head`, then the patch head, the predictor and the guides where there are
  int patch_head_ = 0, predictor_ = -1;
  std::vector<int> guides_;
};

/// The crops of the first `views` views (the global ones, for the teacher), as narrowed views of the same storage. Error when there are
/// fewer.
std::vector<at::Tensor> first_views(std::span<const at::Tensor> crops_by_size, int64_t batch, int views);

}  // namespace dinoxx
