#pragma once
#include <string>
#include <vector>

#include "parallel/param_layout.hpp"

namespace dinoxx {

/// How an optimizer treats one segment in one step.
struct SegmentRule {
  double lr_scale = 1, wd_scale = 1;
  bool frozen = false;  ///< value, decay, moments and step count stay, the gradient is neither counted nor clipped
  bool adapt = true;    ///< LARS scales the update by norms; false: plain momentum
};

/// Which parameters get no weight decay.
enum class DecayExclusion {
  kShape,  ///< biases and every 1-D parameter (facebookresearch/dino, ibot; LARS in solo-learn and BYOL)
  kName,   ///< names that end with "bias" or contain "norm" or "gamma" (dinov2, dinov3): a 1-D weight of another name decays
};

/// What a frozen last layer is.
enum class LastLayerFreeze {
  kNone,
  kSkip,      ///< no gradient (dino, ibot): neither decay nor moments move, its first step after is a first step
  kZeroRate,  ///< learning rate 0 (dinov2, dinov3): value stays, but moments and step count move, and its gradient counts when clipping
};

struct RuleOptions {
  DecayExclusion exclusion = DecayExclusion::kShape;
  double layer_decay = 1;                               ///< rate of layer l is scaled by layer_decay^(L + 1 - l), see layer_of
  double patch_embed_lr = 1;                            ///< further factor of the patch embedding's rate (.2 in dinov2 and dinov3)
  LastLayerFreeze last_layer = LastLayerFreeze::kNone;  ///< of this step
};

/// One rule for each segment (dinov2/utils/param_groups.py; facebookresearch/dino utils.py, get_params_groups). What does not decay does
/// not adapt under LARS either. UsageError for a layer decay outside (0, 1] or a negative factor.
std::vector<SegmentRule> segment_rules(const ParamLayout& layout, const RuleOptions& options);

/// What of a backbone learns that came from other weights.
struct Thaw {
  double share = 1;             ///< of the way from none of its layers to all that learn; 0: the heads alone
  int last_blocks = 0;          ///< only so many blocks and the norm behind them ever learn; 0: all, the embedding last
  bool block_matrices = false;  ///< of the backbone nothing but the matrices of its blocks (LoRA)
};
/// Freezes what does not learn, and scales the rate of the layer that begins to: with n layers that learn, the one k in front of the last
/// has the rate min(max(n share - k, 0), 1).
void apply_thaw(const ParamLayout& layout, const Thaw& thaw, std::vector<SegmentRule>& rules);
/// A weight matrix of a transformer block.
bool is_block_matrix(const Segment& segment);

/// Depth of a parameter by its name among `layers` (layer_count): 0 for embeddings and tokens, i + 1 for block i, layers + 1 for the final
/// norm, heads and everything else. The stages of convolutional networks count as blocks here (stem 0); the published code gives those no
/// layer-wise rates.
int layer_of(const std::string& name, int layers);
/// L: blocks or stages of the backbone, 0 when there are none.
int layer_count(const ParamLayout& layout);

}  // namespace dinoxx
