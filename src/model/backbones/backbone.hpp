#pragma once
#include <cstdint>
#include <memory>

#include "dinoxx/comm/communicator.hpp"
#include "model/weights/published.hpp"
#include "vit.hpp"

namespace dinoxx {

/// Any backbone: ViT, ConvNeXt, ResNet.
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
  /// Everything about crops of one size. Error for masks when the network has no mask token.
  virtual Features forward_features(const Crops& crops) const = 0;
  /// Whether crops of so many sizes are better given at once.
  virtual bool packs(size_t groups) const = 0;
  /// The features of crops of several sizes (cls alone), with `patches` all of forward_features for the first.
  virtual std::vector<Features> forward_crops(std::span<const Crops> groups, bool patches) const = 0;

  /// Makes the network ask for the weights of each block but the last before it uses them, in forward and, with recomputation, in backward;
  /// without recomputation it may then only be evaluated. Whether this network can.
  virtual bool hold_blocks_by(HoldBlock hold) = 0;
  /// Batch statistics over all ranks of `group`, kept or forgotten after a step: see BatchNorm. Without effect where there are no buffers.
  virtual void set_statistics_group(const std::shared_ptr<Communicator>& group) = 0;
  virtual void commit_statistics() = 0;
  virtual void discard_statistics() = 0;
};

/// Parameters are NaN until initialize() or a load. UsageError for a configuration that has no such network.
std::unique_ptr<Backbone> make_backbone(const BackboneConfig& config, at::ScalarType dtype);

/// Parameters and buffers.
NamedTensors stored_state(const Backbone& backbone);
/// Moves them to another device, where it computes from then on.
void move_to(const Backbone& backbone, at::Device device);

/// Width of the feature of such a network.
int feature_dim(const BackboneConfig& config);
/// Whether patches can be masked.
bool has_mask_token(const BackboneConfig& config);
/// Input channels of a configuration.
int channels_of(const BackboneConfig& config);
/// What the sides of an image must be a multiple of: a ViT's patch, else 1.
int side_multiple(const BackboneConfig& config);
/// The same network for another number of channels.
BackboneConfig with_channels(BackboneConfig config, int channels);

}  // namespace dinoxx
