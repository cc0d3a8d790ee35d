#pragma once
#include <optional>
#include <string>
#include <vector>

#include "views.hpp"

namespace dinoxx {

/// Augmentations as published, by name:
///   dino-v1               facebookresearch/dino main_dino.py
///   dinov2-as-released    facebookresearch/dinov2 data/augmentations.py, transforms.py: the probability of the blur is inverted there, and
///   the
///                         released models were trained so: global 1 never, global 2 in 90 %, local in 50 %
///   dinov2-as-documented  the same with the probabilities that were meant: 1, .1, .5
///   dinov3                facebookresearch/dinov3 data/augmentations.py: as dinov2-as-released, with room for Gram crops
///   byol                  Grill et al. 2020, appendix B, table 6
///   simclr                Chen et al. 2020, appendix A, strength 1
///   solo-cifar-asymmetric vturrisi/solo-learn scripts/pretrain/cifar/augmentations/asymmetric.yaml (its BYOL and DINO), with CIFAR's own
///   mean solo-cifar-symmetric  the same folder's symmetric.yaml (its SimCLR)
const std::vector<std::string>& view_profiles();

/// What may differ from a profile; what is absent is the profile's own.
struct ProfileOptions {
  std::optional<int> global_size, local_size, local_count;
  std::optional<double> global_scale_min, global_scale_max, local_scale_min, local_scale_max;
  std::optional<double> flip_p;  ///< 0 in DINOv3's 7B recipes
  std::optional<bool> blur;      ///< false: none, for images of few pixels
  std::optional<bool> color;     ///< false: no jitter, gray or solarised views, for images whose colours are what they say
  std::optional<int> gram_size;  ///< adds a Gram crop of every global view, see gram_view; any profile
  bool gram_distort = false;     ///< the Gram crops are distorted as their global view is
};

/// UsageError: an unknown name (with the nearest), sizes below 1, scales outside 0 < min <= max <= 1, local crops of a profile that has
/// none, a blur of views that are smaller than its kernel.
ViewPlan profile_views(const std::string& name, const ProfileOptions& options = {});

/// What a profile's views are normalised by. UsageError: an unknown name (with the nearest).
Normalization profile_normalization(const std::string& name);

/// Where a profile comes from and what is special about it: one line.
std::string profile_summary(const std::string& name);

}  // namespace dinoxx
