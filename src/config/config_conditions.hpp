#pragma once
#include "config_fields.hpp"

/// When a run reads a key: what stands behind the fields of the table (config_fields.cpp). Each asks a resolved configuration.
namespace dinoxx::where {

// the network
Condition vision_transformer();
Condition learned_positions();
Condition rotary_positions();
Condition layer_scale();
Condition no_resnet();
Condition no_convnext();
Condition small_stem();
Condition other_weights();
Condition anchor();
Condition lora();
Condition guide_heads();
Condition learnt_columns();
Condition forgotten_columns();
Condition stochastic_depth();
Condition subset_of_images();
Condition recomputed();
// crops, masks and heads
Condition local_crops();
Condition one_resolution();
Condition several_resolutions();
Condition masks();
Condition masks_in_strata();
Condition weight_norm();
Condition patch_loss();
Condition own_patch_head();
// the optimizer
Condition adamw();
Condition momentum();
Condition lars();
Condition clipping();
Condition moving_rate();
Condition extended();
// the ranks
Condition shared_state();
Condition shared_gradient();
// the loss
Condition running_centre();
Condition sinkhorn();
Condition koleo();
Condition sigreg();
Condition gram();
Condition gram_or_moving_local_weight();
Condition own_gram_teacher();
Condition renewed_gram_teacher();
Condition several_gram_teachers();

}  // namespace dinoxx::where
