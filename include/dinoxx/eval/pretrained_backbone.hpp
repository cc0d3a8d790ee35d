#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace dinoxx {

/// Which weights of a path, and what a file from elsewhere may leave open.
struct BackboneOptions {
  std::optional<int64_t> step{};  ///< of a run folder: this checkpoint instead of the newest
  std::optional<int> heads{};     ///< attention heads of a file that dinoxx did not write and that does not say them
  bool bfloat16 = false;          ///< weights and arithmetic in bfloat16; images and features are float32 all the same
};

/// What is known about a loaded backbone.
struct BackboneFacts {
  std::filesystem::path file;          ///< the weights that were read
  std::string description;             ///< "vision transformer 384 x 12, patch 16", ...
  int feature_dim = 0;                 ///< numbers in the feature of an image
  int channels = 3;                    ///< of its input
  int patch_size = 0;                  ///< pixels of a side of a ViT's patch; 0: a convolutional network
  int side_multiple = 1;               ///< what the sides of an image must be multiples of
  int image_size = 224;                ///< side of the images that training showed
  std::array<float, 3> mean{}, std{};  ///< of its input, red, green, blue in [0, 1]: (pixel - mean) / std
  std::string normalization_source;    ///< where mean and std are from: the file, its configuration, or assumed to be ImageNet's
  std::optional<int64_t> step{};       ///< of a checkpoint of dinoxx
  std::vector<std::string> notes{};    ///< what the file did not say and was assumed
};

/// A frozen backbone (ViT, ConvNeXt, ResNet) with trained weights, for inference. Copies share the weights. Thread-safe.
class PretrainedBackbone {
 public:
  /// `path`: a run folder (its newest teacher), a checkpoint folder, a file that dinoxx exported, or published weights: safetensors, a file
  /// of torch.save, an index of several, a folder with one of them. What `dinoxx eval --checkpoint` takes, see docs/weights.md.
  /// UsageError: nothing there, a step that is not there, no backbone that is known, names or shapes that do not fit. Error: a damaged
  /// file.
  static PretrainedBackbone load(const std::filesystem::path& path, const BackboneOptions& options = {});

  /// What is known about it.
  const BackboneFacts& facts() const;

  /// The feature of each image (CLS, or what takes its place), not divided by its length: images [B, channels, H, W] float32, normalised by
  /// facts().mean and std -> [B, feature_dim] float32, without autograd. Error for another shape or type, or sides that patches do not fit.
  at::Tensor forward(const at::Tensor& images) const;

  /// The features of patches, row by row, without CLS and registers: images as in forward() -> [B, N, D] float32. Errors as forward().
  at::Tensor patch_tokens(const at::Tensor& images) const;

 private:
  struct Impl;
  explicit PretrainedBackbone(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

}  // namespace dinoxx
