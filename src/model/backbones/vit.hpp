#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/rng.hpp"
#include "comm/named_tensor.hpp"
#include "config/vit_config.hpp"
#include "model/layers/row_origin.hpp"
#include "ops/ops.hpp"
#include "ops/packed.hpp"
#include "ops/recompute.hpp"

namespace dinoxx {

struct VitBlock;
struct TokenGroup;
struct BlockContext;

/// What a backbone says about each image, after its final norm.
struct Features {
  at::Tensor cls;        ///< [B, D]
  at::Tensor patches;    ///< [B, N, D], rows of the grid first
  at::Tensor registers;  ///< [B, R, D]
};

/// Crops of one size.
struct Crops {
  at::Tensor images;                  ///< [B, C, H, W]
  const RowOrigin* origin = nullptr;  ///< given: training (stochastic depth, rotary augmentations); absent: evaluation
  at::Tensor masked;                  ///< [B, N] bool: patches that the mask token replaces; undefined: none
  bool local = false;                 ///< local crops: their CLS gets a final norm of its own where the network has one
};

/// The weights of a block are there until the handle goes; `backward`: the block before it comes next.
using HoldBlock = std::function<std::shared_ptr<void>(size_t block, bool backward)>;

/// Vision transformer of the DINO family, all styles of VitConfig. Names as in facebookresearch/dinov2: cls_token, pos_embed,
/// register_tokens, mask_token, patch_embed.proj.*, blocks.i.{norm1,attn.qkv,attn.proj,ls1.gamma,norm2,mlp.fc1,mlp.fc2,mlp.w12,mlp.w3,
/// ls2.gamma}, norm.*, cls_norm.*, local_cls_norm.*; those of a plain network are DINO v1's. The convolutional stem adds
/// patch_embed.stem.i.{conv,norm}.*.
class VisionTransformer {
 public:
  /// Parameters are filled with NaN until initialize() or load. `dtype`: float32, bfloat16 or float64. UsageError for a configuration that
  /// has no such network.
  VisionTransformer(const VitConfig& config, at::ScalarType dtype);
  ~VisionTransformer();
  VisionTransformer(VisionTransformer&&) noexcept;
  VisionTransformer& operator=(VisionTransformer&&) noexcept;

  const VitConfig& config() const { return config_; }
  /// See Backbone::hold_blocks_by.
  void hold_blocks_by(HoldBlock hold) { hold_block_ = std::move(hold); }
  int feature_dim() const { return config_.dim; }

  /// In order of execution.
  const NamedTensors& parameters() const { return parameters_; }
  /// Truncated normal std 0.02 for weights, zero biases and mask token, convolution as torch.nn.Conv2d, LayerScale at its configured gain;
  /// a function of (seed, parameter index) alone.
  void initialize(uint64_t seed);

  /// images [B, C, H, W] -> CLS feature after the final norm, [B, D]. `origin` given: training; absent: evaluation. H and W must be
  /// multiples of the patch size, or config().fit says what to do. The last block of a plain network is computed for the CLS token alone
  /// (cls_block.hpp): the same function and gradient, less work.
  at::Tensor forward(const at::Tensor& images, const RowOrigin* origin = nullptr) const;
  /// All tokens after the final norm [B, 1 + R + N, D].
  at::Tensor forward_tokens(const at::Tensor& images, const RowOrigin* origin = nullptr) const;
  Features forward_features(const Crops& crops) const;
  /// Crops of several sizes in one pass: tokens concatenated for norms and linear layers, attention for each size. Equal to
  /// forward_features of each group up to rounding.
  std::vector<Features> forward_packed(std::span<const Crops> groups) const;
  /// Whether so many groups run as rows of one matrix: on a GPU, where its kernels take the network's widths.
  bool packs(size_t groups) const;
  /// What a training step takes of crops of several sizes: the CLS feature of each group, and with `patches` the first group's patches and
  /// registers. Each group by itself on the CPU, all together on a GPU.
  std::vector<Features> forward_crops(std::span<const Crops> groups, bool patches) const;
  /// Of the last n blocks, the earliest first; `normed`: after the final norm. Evaluation. UsageError when n is not in [1, depth].
  std::vector<Features> last_blocks(const at::Tensor& images, int n, bool normed = true) const;
  /// Attention probabilities of the last block, [B, heads, T, T] over CLS, registers and patches. Evaluation.
  at::Tensor last_attention(const at::Tensor& images) const;

 private:
  struct StemLayer {
    at::Tensor conv_weight, norm_weight, norm_bias;
  };
  struct Grid {
    int64_t rows, columns;
  };
  at::Tensor fitted(const at::Tensor& images) const;  ///< sides that the patch divides
  Grid grid(const at::Tensor& images) const;
  at::Tensor embed_patches(const at::Tensor& images) const;                           ///< [B, N, D]
  at::Tensor embed_tokens(const at::Tensor& images, const at::Tensor& masked) const;  ///< [B, 1 + R + N, D]
  BlockContext context(size_t block) const;
  Hold holding(size_t block) const;  ///< of its weights, for recompute() and while_held(); empty where they are always there
  bool recomputes(size_t block) const { return config_.recompute.of(static_cast<int64_t>(block)) == "block"; }
  TokenGroup group(const Crops& crops) const;
  void run_block(size_t block, std::vector<TokenGroup>& groups, std::span<const Crops> crops) const;
  void prepare(size_t block, TokenGroup& group, const Crops& crops) const;  ///< the block's draws
  CounterRng rope_rng(const Crops& crops, size_t block) const;              ///< a stream for each step, block and crop size
  at::Tensor final_norm(const at::Tensor& x, bool local_in_training) const;
  Features split(const at::Tensor& tokens) const;

  // vit_packed.cpp: all crops as rows of one matrix
  struct PackedPass;
  struct PackedNorm {
    at::Tensor weight, bias;
    ops::PackedBranch to;
  };
  PackedPass start_packed(std::span<const Crops> crops) const;
  void packed_block(size_t block, PackedPass& pass, const PackedNorm& next) const;
  void run_packed(PackedPass& pass, size_t begin, size_t end, const PackedNorm& last) const;
  std::vector<Features> packed_features(std::span<const Crops> crops) const;
  std::vector<at::Tensor> packed_cls(std::span<const Crops> crops) const;
  std::vector<Features> packed_first_and_cls(std::span<const Crops> crops) const;  ///< the first group in full, of the others the CLS
  bool last_block_for_cls(std::span<const Crops> crops) const;  ///< whether it can be computed for the CLS alone (cls_block.hpp)
  at::Tensor packed_normed(const PackedPass& pass) const;       ///< by the one final norm, behind the last block; as it is without one
  at::Tensor packed_cls_of_last(const PackedPass& pass) const;  ///< [samples of all groups, D], from what stands before the last block

  VitConfig config_;
  at::ScalarType dtype_;
  NamedTensors parameters_;
  at::Tensor cls_token_, pos_embed_, register_tokens_, mask_token_, patch_weight_, patch_bias_;
  at::Tensor norm_weight_, norm_bias_, cls_norm_weight_, cls_norm_bias_, local_norm_weight_, local_norm_bias_;
  std::vector<StemLayer> stem_;
  std::vector<VitBlock> blocks_;
  HoldBlock hold_block_;  // empty: the weights are always there
};

}  // namespace dinoxx
