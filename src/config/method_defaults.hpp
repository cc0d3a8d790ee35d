#pragma once
#include <string>
#include <vector>

namespace dinoxx {

/// What "auto" becomes for each method where the number of images does not say it: the values of the published code, or of the library that
/// is named.
struct MethodDefaults {
  std::string name, profile;
  double global_scale_min, local_scale_max;
  int local_count;
  std::string optimizer, lr_rule;
  double lr, min_lr, weight_decay, weight_decay_end, clip;
  std::string clip_by;
  double layer_decay, patch_embed_lr, momentum;  ///< momentum: of the teacher, for a million images
  std::string temp_changes, centring, mask;
  double patch_weight, koleo_weight;
  int hidden_dim, out_dim;  ///< out_dim 0: by the number of images
  bool shared_head;
  bool norm_last_layer;  ///< the prototypes' gain stays 1
  bool dinov2_groups;    ///< parameter groups as DINOv2's: no weight decay by name, a frozen last layer has a rate of 0 (optim/rules.hpp)
};
/// UsageError for an unknown method, with the nearest one.
const MethodDefaults& method_defaults(const std::string& method);
std::vector<std::string> method_names();

/// Names of augmentation profiles (data/views.hpp makes them).
const std::vector<std::string>& view_profile_names();

}  // namespace dinoxx
