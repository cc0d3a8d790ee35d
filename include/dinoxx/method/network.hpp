#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "dinoxx/model/dino_head.hpp"
#include "dinoxx/model/vit.hpp"

namespace dinoxx {

/// Backbone and projection head: what a student is and what a teacher is (facebookresearch/dino utils.py, MultiCropWrapper).
struct Network {
  /// `head.in_dim` must be the backbone's feature_dim(). All parameters are NaN until initialize() or a load.
  Network(const VitConfig& backbone_config, const DinoHeadConfig& head_config, at::ScalarType dtype);

  VisionTransformer backbone;
  DinoHead head;

  /// "backbone.*", then "head.*", in order of execution. Handles: see NamedTensor.
  NamedTensors parameters() const;
  /// A function of the seed alone; two networks of equal configuration and seed are equal bit for bit.
  void initialize(uint64_t seed);

  /// Crops of one size in one forward of the backbone, all features through ONE forward of the head.
  /// crops_by_size: in view order, each [views_i * batch, C, S_i, S_i], rows [view][slot]. Returns the logits [V, batch, K], V = sum of
  /// views_i. origins: one per group (training, stochastic depth on), or empty (evaluation, teacher). Error when a group's rows are no
  /// multiple of batch.
  at::Tensor forward(std::span<const at::Tensor> crops_by_size, std::span<const RowOrigin> origins, int64_t batch) const;
};

/// The crops of the first `views` views (the global ones, for the teacher), as narrowed views of the same storage. Error when there are
/// fewer.
std::vector<at::Tensor> first_views(std::span<const at::Tensor> crops_by_size, int64_t batch, int views);

}  // namespace dinoxx
