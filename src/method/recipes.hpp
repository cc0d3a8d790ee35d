#pragma once
#include "method.hpp"

/// The recipes behind method_table(). A recipe puts together views, heads, masks and loss terms; all of its numbers come from the
/// configuration, whose "auto" is the method's own (core/method_defaults.hpp).
namespace dinoxx {

/// DINO v1 (Caron et al. 2021), iBOT (Zhou et al. 2022), DINOv2 (Oquab et al. 2023), DINOv3 (Simeoni et al. 2025) and distillation from a
/// frozen teacher as DINOv2's and DINOv3's smaller models were made: cross-entropy with prototypes between views, and between tokens where
/// patches are masked; KoLeo and Gram anchoring where they have a weight. They differ in nothing but the configuration and, for
/// distillation, in who the teacher is.
MethodSpec recipe_prototypes(const Config& config);
/// BYOL (Grill et al. 2020): projector, predictor, EMA teacher, symmetric cosine loss.
MethodSpec recipe_byol(const Config& config);
/// SimCLR (Chen et al. 2020): projector, NT-Xent over all ranks.
MethodSpec recipe_simclr(const Config& config);

/// Puts the views of config.views in the profile that it names, in each of the resolutions.
void configure_views(MethodSpec& spec, const Config& config);

// Loss terms.
LossTerm dino_term(const Config& config);
LossTerm patch_term(const Config& config);
LossTerm koleo_term(const Config& config);
LossTerm gram_term(const Config& config);
LossTerm byol_term();
LossTerm simclr_term(const Config& config);

}  // namespace dinoxx
