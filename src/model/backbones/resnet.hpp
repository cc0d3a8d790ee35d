#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "conv_features.hpp"
#include "model/layers/batch_norm.hpp"

namespace dinoxx {

struct RowOrigin;

struct ResNetConfig {
  std::array<int, 4> depths{2, 2, 2, 2};  ///< blocks of each stage
  bool bottleneck = false;                ///< blocks 1x1, 3x3, 1x1 with four times the width at the end; else two 3x3
  int width = 64;                         ///< of the first stage; doubled by each further one
  int channels = 3;
  bool small_image_stem = false;     ///< 3x3 at stride 1 without max-pool, for images of 32 to 64 pixels; else 7x7 at stride 2 and max-pool
  int stem_padding = 1;              ///< of the 3x3 stem, pixels (solo-learn's has 2)
  bool zero_init_last_norm = false;  ///< residual branches begin at zero: the last gain of each block (Goyal et al. 2017)
  double norm_eps = 1e-5, norm_momentum = 0.1;
  int features_per_width() const { return bottleneck ? 32 : 8; }
  int feature_dim() const { return width * features_per_width(); }
};
/// "resnet18", "resnet34", "resnet50". UsageError for another name.
ResNetConfig resnet_config(const std::string& arch);

/// Residual network (He et al. 2015) as torchvision has it: post-activation blocks, the stride of a bottleneck in its 3x3 convolution
/// ("v1.5"), no biases beside those of the norms. Names of torchvision's state dict without fc: conv1.weight, bn1.*, layer1.0.conv1.weight,
/// layer1.0.bn1.*, layer2.0.downsample.{0,1}.*
class ResNet {
 public:
  /// Parameters are NaN until initialize() or load; running statistics begin as mean 0, variance 1. `dtype`: float32, bfloat16 or float64.
  /// UsageError for a configuration that has no such network.
  ResNet(const ResNetConfig& config, at::ScalarType dtype);
  const ResNetConfig& config() const { return config_; }
  int feature_dim() const { return config_.feature_dim(); }
  /// Smallest side of an image that gives every position of the last stage a pixel of its own: 32, with the small stem 8.
  int stride() const { return config_.small_image_stem ? 8 : 32; }

  /// In order of execution.
  const NamedTensors& parameters() const { return parameters_; }
  /// Running statistics, float32 (float64 for float64) and int64: <norm>.running_mean, running_var, num_batches_tracked.
  const NamedTensors& buffers() const { return buffers_; }
  /// Convolutions normal with variance 2 / fan_out (He et al. 2015), gains 1 or 0 (zero_init_last_norm), biases 0; a function of (seed,
  /// parameter index) alone. Running statistics anew.
  void initialize(uint64_t seed);

  /// images [B, C, H, W], H and W at least stride() -> mean of the last stage over positions, [B, D].
  /// `origin` given: training, that is batch statistics (also for a teacher that shall have them); absent: running statistics.
  at::Tensor forward(const at::Tensor& images, const RowOrigin* origin = nullptr) const;
  ConvFeatures forward_features(const at::Tensor& images, const RowOrigin* origin = nullptr) const;

  /// Batch statistics over all ranks of `group` (nullptr: of this rank); see BatchNorm. A communicator of its own, not that of the
  /// gradients.
  void set_statistics_group(const std::shared_ptr<Communicator>& group);
  /// The statistics of all training forwards since the last call go into the running ones; call it when all ranks have agreed that the
  /// step counts, else discard_statistics().
  void commit_statistics();
  void discard_statistics();

 private:
  struct Conv {
    at::Tensor weight;
    int64_t stride = 1;
    int64_t padding = 0;
    size_t norm = 0;  ///< its place in norms_
  };
  struct Block {
    std::vector<Conv> branch;
    std::vector<Conv> shortcut;  ///< empty or one: where the shape changes
  };
  Conv make_conv(const std::string& conv, const std::string& norm, int64_t in, int64_t out, int64_t kernel, int64_t stride);
  at::Tensor convolve(const Conv& conv, const at::Tensor& x) const;
  std::vector<at::Tensor> run(const at::Tensor& images, bool training) const;  ///< output of each stage

  ResNetConfig config_;
  at::ScalarType dtype_;
  NamedTensors parameters_, buffers_;
  std::vector<BatchNorm> norms_;
  Conv stem_;
  std::array<std::vector<Block>, 4> stages_;
};

}  // namespace dinoxx
