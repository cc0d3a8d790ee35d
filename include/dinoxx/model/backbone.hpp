#pragma once
#include <cstdint>
#include <memory>

#include "dinoxx/model/published.hpp"
#include "dinoxx/model/vit.hpp"

namespace dinoxx {

/// Any backbone, for whoever wants features and weights and no more: ViT, ConvNeXt, ResNet.
class Backbone {
 public:
  virtual ~Backbone() = default;
  virtual BackboneConfig config() const = 0;
  virtual int feature_dim() const = 0;
  /// In order of execution, under the names of the network's own header.
  virtual const NamedTensors& parameters() const = 0;
  /// What is not trained by gradients (running statistics); empty for most.
  virtual const NamedTensors& buffers() const = 0;
  virtual void initialize(uint64_t seed) = 0;
  /// images [B, C, H, W] -> one feature for each, [B, feature_dim()]. `origin` given: training; absent: evaluation.
  virtual at::Tensor forward(const at::Tensor& images, const RowOrigin* origin = nullptr) const = 0;
  virtual Features forward_features(const at::Tensor& images, const RowOrigin* origin = nullptr) const = 0;
};

/// Parameters are NaN until initialize() or a load. UsageError for a configuration that has no such network.
std::unique_ptr<Backbone> make_backbone(const BackboneConfig& config, at::ScalarType dtype);

/// Parameters and buffers.
NamedTensors stored_state(const Backbone& backbone);

/// Input channels of a configuration.
int channels_of(const BackboneConfig& config);
/// What the sides of an image must be a multiple of: a ViT's patch, else 1.
int side_multiple(const BackboneConfig& config);
/// The same network for another number of channels.
BackboneConfig with_channels(BackboneConfig config, int channels);

}  // namespace dinoxx
