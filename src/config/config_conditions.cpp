#include "config_conditions.hpp"

#include "architectures.hpp"
#include "data_pipeline/augment/mask_config.hpp"
#include "data_pipeline/augment/views_config.hpp"
#include "loss/gram_config.hpp"
#include "loss/loss_config.hpp"
#include "method/guides/guide_config.hpp"
#include "model/heads/head_config.hpp"
#include "model/model_config.hpp"
#include "optim/init_config.hpp"
#include "optim/optim_config.hpp"
#include "parallel/parallel_config.hpp"
#include "train/training_config.hpp"
#include "vit_config.hpp"

namespace dinoxx::where {
namespace {

bool is_vit(const Config& c) {
  return family_of(c.model->arch) == Family::kVit;
}

bool has_positions(const Config& c, const char* kind) {
  return is_vit(c) && vit_config(c.model->arch, c.model->style).positions == kind;
}

bool has_patch_loss(const Config& c) {
  return c.loss->patch_weight.value_or(0) > 0;
}

// Of the features or of the patches, whichever there are.
bool centred_by(const Config& c, const char* way) {
  return c.loss->centring == way || (has_patch_loss(c) && c.loss->patch_centring == way);
}

bool has_gram(const Config& c) {
  return c.gram->weight > 0;
}

bool has_own_gram_teacher(const Config& c) {
  return has_gram(c) && c.gram->teacher != "ema";
}

// A teacher from a file that gram.first does not replace stays.
bool renews_gram_teacher(const Config& c) {
  return has_own_gram_teacher(c) && (c.gram->teacher.empty() || c.gram->first.value > 0);
}

}  // namespace

Condition vision_transformer() {
  return {"model.arch is a vision transformer", is_vit};
}
Condition learned_positions() {
  return {"model.style has learned positions", [](const Config& c) { return has_positions(c, "learned"); }};
}
Condition layer_scale() {
  return {"model.style has LayerScale",
          [](const Config& c) { return is_vit(c) && vit_config(c.model->arch, c.model->style).layer_scale > 0; }};
}
Condition rotary_positions() {
  return {"model.style has rotary positions", [](const Config& c) { return has_positions(c, "rope"); }};
}
Condition no_resnet() {
  return {"model.arch is no ResNet", [](const Config& c) { return family_of(c.model->arch) != Family::kResNet; }};
}
Condition no_convnext() {
  return {"model.arch is no ConvNeXt", [](const Config& c) { return family_of(c.model->arch) != Family::kConvNext; }};
}
Condition small_stem() {
  return {"model.stem is small", [](const Config& c) { return family_of(c.model->arch) == Family::kResNet && c.model->stem == "small"; }};
}
Condition other_weights() {
  return {"model.init_from is set", [](const Config& c) { return !c.model->init_from.empty(); }};
}
Condition anchor() {
  return {"init.anchor is above 0", [](const Config& c) { return c.init->anchor > 0; }};
}
Condition lora() {
  return {"init.lora_rank is above 0", [](const Config& c) { return c.init->lora_rank > 0; }};
}
Condition guide_heads() {
  return {"guide.learn is set, or guide.forget with guide.forget_by = reversal",
          [](const Config& c) { return !c.guide->learn.empty() || (!c.guide->forget.empty() && c.guide->forget_by == "reversal"); }};
}
Condition learnt_columns() {
  return {"guide.learn is set", [](const Config& c) { return !c.guide->learn.empty(); }};
}
Condition forgotten_columns() {
  return {"guide.forget is set", [](const Config& c) { return !c.guide->forget.empty(); }};
}
Condition stochastic_depth() {
  return {"model.drop_path is above 0", [](const Config& c) { return c.model->drop_path > 0; }};
}
Condition subset_of_images() {
  return {"model.drop_path_form is subset", [](const Config& c) { return c.model->drop_path_form == "subset"; }};
}

Condition recomputed() {
  return {"model.recompute is not none", [](const Config& c) { return c.model->recompute != "none"; }};
}

Condition local_crops() {
  return {"views.local_count is above 0", [](const Config& c) { return c.views->local_count.value_or(0) > 0; }};
}
Condition one_resolution() {
  return {"views.sizes is empty", [](const Config& c) { return c.views->sizes.empty(); }};
}
Condition several_resolutions() {
  return {"views.sizes is set", [](const Config& c) { return !c.views->sizes.empty(); }};
}
Condition masks() {
  return {"mask.scheme is not none", [](const Config& c) { return c.mask->scheme != "none"; }};
}
Condition masks_in_strata() {
  return {"mask.scheme is dinov2 or dinov3", [](const Config& c) { return c.mask->scheme.starts_with("dinov"); }};
}
Condition weight_norm() {
  return {"head.weight_norm is yes", [](const Config& c) { return c.head->weight_norm.value_or(true); }};
}
Condition patch_loss() {
  return {"loss.patch_weight is above 0", has_patch_loss};
}
Condition own_patch_head() {
  return {"head.shared is no", [](const Config& c) { return !c.head->shared.value_or(true); }};
}

Condition adamw() {
  return {"optim.name is adamw", [](const Config& c) { return c.optim->name == "adamw"; }};
}
Condition momentum() {
  return {"optim.name is sgd or lars", [](const Config& c) { return c.optim->name == "sgd" || c.optim->name == "lars"; }};
}
Condition lars() {
  return {"optim.name is lars", [](const Config& c) { return c.optim->name == "lars"; }};
}
Condition clipping() {
  return {"optim.clip is above 0", [](const Config& c) { return c.optim->clip.value_or(0) > 0; }};
}
Condition extended() {
  return {"train.extend is above 0", [](const Config& c) { return c.train->extend.value > 0; }};
}
Condition moving_rate() {
  return {"optim.schedule is not constant", [](const Config& c) { return c.optim->schedule != "constant"; }};
}

Condition shared_state() {
  return {"parallel.sync is not ddp", [](const Config& c) { return c.parallel->sync != "ddp"; }};
}
Condition shared_gradient() {
  return {"parallel.sync is zero2 or zero3", [](const Config& c) { return c.parallel->sync == "zero2" || c.parallel->sync == "zero3"; }};
}

Condition running_centre() {
  return {"loss.centring or loss.patch_centring is centre", [](const Config& c) { return centred_by(c, "centre"); }};
}
Condition sinkhorn() {
  return {"loss.centring or loss.patch_centring is sinkhorn", [](const Config& c) { return centred_by(c, "sinkhorn"); }};
}
Condition koleo() {
  return {"loss.koleo_weight is above 0", [](const Config& c) { return c.loss->koleo_weight.value_or(0) > 0; }};
}
Condition sigreg() {
  return {"loss.sigreg_weight is above 0", [](const Config& c) { return c.loss->sigreg_weight.value_or(0) > 0; }};
}
Condition gram() {
  return {"gram.weight is above 0", has_gram};
}
Condition gram_or_moving_local_weight() {
  return {"gram.weight is above 0, or loss.local_weight_end differs from loss.local_weight",
          [](const Config& c) { return has_gram(c) || c.loss->local_weight_end.value_or(c.loss->local_weight) != c.loss->local_weight; }};
}
Condition own_gram_teacher() {
  return {"gram.weight is above 0 and gram.teacher is not ema", has_own_gram_teacher};
}
Condition renewed_gram_teacher() {
  return {"gram.weight is above 0 and gram.teacher is empty, or a file with a gram.first above 0", renews_gram_teacher};
}
Condition several_gram_teachers() {
  return {"the Gram teacher is replaced: gram.every is above 0, or gram.first with a file in gram.teacher",
          [](const Config& c) { return renews_gram_teacher(c) && (c.gram->every.value > 0 || !c.gram->teacher.empty()); }};
}

}  // namespace dinoxx::where
