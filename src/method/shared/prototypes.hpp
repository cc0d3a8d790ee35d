#pragma once
#include "method/methods.hpp"
#include "model/heads/dino_head.hpp"

/// What DINO, iBOT, DINOv2, DINOv3 and distillation share: cross-entropy with prototypes between views, and between tokens where patches
/// are masked; KoLeo and Gram anchoring where they have a weight. All numbers come from the configuration, whose "auto" is the method's
/// own.
namespace dinoxx {

/// Whose mean the running centre of the patch loss is.
enum class PatchCentre {
  kMasked,  ///< the masked patches', by groups of images (DINOv2)
  kAll,     ///< all patches' (iBOT)
};

/// The head on the feature.
DinoHeadConfig prototype_head(const Config& config, int in_dim);

/// The masks of [mask], where there are.
void set_masks(MethodSpec& spec, const Config& config);

/// Views, backbone, one head or two, masks and loss terms that a resolved configuration asks for.
MethodSpec prototype_spec(const Config& config, PatchCentre patch_centre = PatchCentre::kMasked);

/// Keys that prototype_spec and the schedules of its teacher read, and `more` of one method.
std::vector<std::string> prototype_keys(std::vector<std::string> more = {});

}  // namespace dinoxx
