#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dinoxx/model/ops.hpp"
#include "dinoxx/tensor/named_tensor.hpp"

namespace dinoxx {

struct VitConfig {
  int image_size = 224;  ///< size for which positions are learned; other sizes interpolate them
  int patch_size = 16;
  int channels = 3;
  int dim = 384, depth = 12, heads = 6;
  double mlp_ratio = 4.0;
  double drop_path = 0.0;  ///< rate of the last block, linear from 0 (DINO v1)
  double norm_eps = 1e-6;
  std::string stem = "patch";  ///< "patch": one p x p convolution; "conv": 3x3 stride-2 convolutions (early convolutions, Xiao et al. 2021)
                               ///< down to the same grid
};
/// "vit_tiny" 192/3, "vit_small" 384/6, "vit_base" 768/12, all depth 12 (facebookresearch/dino vision_transformer.py). UsageError for
/// another name.
VitConfig vit_config(const std::string& arch);

/// Which samples a batch row holds: for stochastic depth, whose draws are a function of (seed, position, view, block).
struct RowOrigin {
  uint64_t seed = 0;
  std::span<const uint64_t> positions;  ///< per slot of the local batch; rows are [view][slot]
  int first_view = 0;
};

/// DINO v1 vision transformer. Names as in facebookresearch/dino: cls_token, pos_embed, patch_embed.proj.*, blocks.i.*, norm.*; the
/// convolutional stem adds patch_embed.stem.i.{conv,norm}.*.
class VisionTransformer {
 public:
  /// Parameters are filled with NaN until initialize() or load. `dtype`: float32, bfloat16 or float64. UsageError for a configuration that
  /// has no such network.
  VisionTransformer(const VitConfig& config, at::ScalarType dtype);
  const VitConfig& config() const { return config_; }
  int feature_dim() const { return config_.dim; }

  /// In order of execution.
  const NamedTensors& parameters() const { return parameters_; }
  /// Truncated normal std 0.02 for weights, zero biases, convolution as torch.nn.Conv2d; a function of (seed, parameter index) alone.
  void initialize(uint64_t seed);

  /// images [B, C, H, W] -> CLS feature after the final norm, [B, D]. H and W must be multiples of the patch size.
  /// `origin` given: training (stochastic depth on); absent: evaluation.
  /// The last block is computed for the CLS token alone (cls_block.hpp): the same function and gradient, less work.
  at::Tensor forward(const at::Tensor& images, const RowOrigin* origin = nullptr) const;
  /// All tokens after the final norm [B, 1 + N, D].
  at::Tensor forward_tokens(const at::Tensor& images, const RowOrigin* origin = nullptr) const;

 private:
  struct StemLayer {
    at::Tensor conv_weight, norm_weight, norm_bias;
  };
  at::Tensor embed_patches(const at::Tensor& images) const;                                      ///< [B, N, D]
  at::Tensor embed_tokens(const at::Tensor& images) const;                                       ///< [B, 1 + N, D]
  at::Tensor run_blocks(at::Tensor x, const RowOrigin* origin, size_t count) const;              ///< the first `count` blocks
  at::Tensor drop_scale(const RowOrigin* origin, int64_t rows, size_t block, int branch) const;  ///< [B], undefined for 1

  VitConfig config_;
  at::ScalarType dtype_;
  NamedTensors parameters_;
  at::Tensor cls_token_, pos_embed_, patch_weight_, patch_bias_, norm_weight_, norm_bias_;
  std::vector<StemLayer> stem_;
  std::vector<ops::BlockWeights> blocks_;
};

}  // namespace dinoxx
