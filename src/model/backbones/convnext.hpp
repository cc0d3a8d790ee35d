#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "comm/named_tensor.hpp"
#include "conv_features.hpp"

namespace dinoxx {

struct RowOrigin;

struct ConvNextConfig {
  std::array<int, 4> depths{3, 3, 9, 3};  ///< blocks of each stage
  std::array<int, 4> dims{96, 192, 384, 768};
  int channels = 3;
  double drop_path = 0.0;  ///< rate of the last block, linear from 0 over the blocks of all stages
  double layer_scale = 1e-6;
  double norm_eps = 1e-6;
};
/// "convnext_tiny", "convnext_small", "convnext_base", "convnext_large" (facebookresearch/dinov3 models/convnext.py). UsageError for
/// another name.
ConvNextConfig convnext_config(const std::string& arch);

/// ConvNeXt (Liu et al. 2022) as DINOv3's distilled students have it: no classifier; the final norm acts on the pooled feature, which
/// takes the place of the CLS token, and on each position of the last stage. Names of facebookresearch/dinov3: downsample_layers.i.{0,1}.*,
/// stages.i.j.{gamma, dwconv.*, norm.*, pwconv1.*, pwconv2.*}, norm.*. (Official files hold the final norm a second time, as norms.3.*.)
class ConvNext {
 public:
  /// Parameters are NaN until initialize() or load. `dtype`: float32, bfloat16 or float64. UsageError for a configuration that has no such
  /// network.
  ConvNext(const ConvNextConfig& config, at::ScalarType dtype);
  const ConvNextConfig& config() const { return config_; }
  int feature_dim() const { return config_.dims[3]; }
  /// Pixels per position of the last stage. Remainders of a side are not seen, as in the published networks.
  int stride() const { return 32; }

  /// In order of execution.
  const NamedTensors& parameters() const { return parameters_; }
  /// Truncated normal std 0.02 for weights, zero biases, unit norms, gamma = layer_scale; a function of (seed, parameter index) alone.
  void initialize(uint64_t seed);

  /// images [B, C, H, W], H and W at least stride() -> final norm of the pooled last stage, [B, D].
  /// `origin` given: training (stochastic depth on); absent: evaluation.
  at::Tensor forward(const at::Tensor& images, const RowOrigin* origin = nullptr) const;
  ConvFeatures forward_features(const at::Tensor& images, const RowOrigin* origin = nullptr) const;

 private:
  struct Block {
    at::Tensor conv_weight, conv_bias, norm_weight, norm_bias, fc1_weight, fc1_bias, fc2_weight, fc2_bias, gamma;
  };
  struct Stage {
    at::Tensor conv_weight, conv_bias, norm_weight, norm_bias;  ///< stem or downsampling
    std::vector<Block> blocks;
  };
  at::Tensor run_block(const at::Tensor& x, const Block& block, const at::Tensor& drop_scale) const;
  std::vector<at::Tensor> run(const at::Tensor& images, const RowOrigin* origin) const;  ///< output of each stage, [B, h, w, D_i]
  at::Tensor final_norm(const at::Tensor& x) const;

  ConvNextConfig config_;
  at::ScalarType dtype_;
  NamedTensors parameters_;
  std::array<Stage, 4> stages_;
  at::Tensor norm_weight_, norm_bias_;
};

}  // namespace dinoxx
