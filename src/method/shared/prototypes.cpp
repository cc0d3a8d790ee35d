#include "prototypes.hpp"
#include "configure_views.hpp"
#include "data_pipeline/augment/mask_config.hpp"
#include "data_pipeline/augment/view_profiles.hpp"
#include "loss/gram_config.hpp"
#include "loss/loss_config.hpp"
#include "model/heads/head_config.hpp"
#include "model/model_config.hpp"
#include "prototype_terms.hpp"

namespace dinoxx {
namespace {

MaskPlan mask_plan(const Config& config) {
  MaskPlan plan;
  MaskSpec& spec = plan.spec;
  const MaskConfig& mask = *config.mask;
  spec.kind = mask_kind(mask.scheme);
  spec.probability = mask.probability;
  spec.ratio_min = mask.ratio_min;
  spec.ratio_max = mask.ratio_max;
  spec.group_size = static_cast<int>(mask.group_size);
  // iBOT: for each crop one of two ratios, the first of them 0 (its README's ViT-S: {0, .3} +- {0, .2})
  const double middle = (mask.ratio_min + mask.ratio_max) / 2, spread = (mask.ratio_max - mask.ratio_min) / 2;
  spec.ratios = {middle};
  spec.variances = {spread};
  if (mask.probability < 1) {
    spec.ratios.insert(spec.ratios.begin(), 0.0);
    spec.variances.insert(spec.variances.begin(), 0.0);
  }
  spec.shift = mask.shift;
  plan.patch_size = static_cast<int>(config.model->patch_size);
  return plan;
}

}  // namespace

DinoHeadConfig prototype_head(const Config& config, int in_dim) {
  DinoHeadConfig head;
  head.in_dim = in_dim;
  head.hidden_dim = static_cast<int>(*config.head->hidden_dim);
  head.bottleneck_dim = static_cast<int>(*config.head->bottleneck_dim);
  head.out_dim = static_cast<int>(*config.head->out_dim);
  head.layers = static_cast<int>(*config.head->layers);
  head.weight_norm = *config.head->weight_norm;
  head.batch_norm = *config.head->batch_norm;
  return head;
}

void set_masks(MethodSpec& spec, const Config& config) {
  if (config.mask->scheme != "none") spec.masks = mask_plan(config);
}

MethodSpec prototype_spec(const Config& config, PatchCentre patch_centre) {
  MethodSpec spec;
  configure_views(spec, config);
  spec.network.backbone = backbone_config(config);
  const int dim = feature_dim(spec.network.backbone);
  const bool patches = *config.loss->patch_weight > 0, own_patch_head = patches && !*config.head->shared;
  spec.network.head = {own_patch_head ? "dino_head" : "head", prototype_head(config, dim)};
  if (own_patch_head) {
    DinoHeadConfig of_patches = prototype_head(config, dim);
    of_patches.hidden_dim = static_cast<int>(*config.head->patch_hidden_dim);
    of_patches.bottleneck_dim = static_cast<int>(*config.head->patch_bottleneck_dim);
    of_patches.out_dim = static_cast<int>(*config.head->patch_out_dim);
    spec.network.patch_head = {"ibot_head", of_patches};
  }
  spec.rows_at_once = config.loss->rows_at_once;
  spec.norm_last_layer = *config.head->norm_last_layer;
  set_masks(spec, config);
  spec.centre = config.loss->centring == "centre";
  spec.terms.push_back(dino_term(config));
  if (patches) {
    spec.patch_centre = config.loss->patch_centring == "centre";
    spec.terms.push_back(patch_term(config, patch_centre));
  }
  if (*config.loss->koleo_weight > 0) spec.terms.push_back(koleo_term(config));
  if (*config.loss->sigreg_weight > 0) spec.terms.push_back(sigreg_term(config));
  if (config.gram->weight > 0) {
    spec.gram = {config.gram->teacher, static_cast<int>(config.model->patch_size)};
    spec.terms.push_back(gram_term(config));
  }
  return spec;
}

std::vector<std::string> prototype_keys(std::vector<std::string> more) {
  std::vector<std::string> keys = {
      "head.out_dim",
      "head.hidden_dim",
      "head.bottleneck_dim",
      "head.layers",
      "head.batch_norm",
      "head.norm_last_layer",
      "head.weight_norm",
      "head.shared",
      "head.shard_prototypes",
      "head.patch_*",
      "mask.*",
      "optim.freeze_last_layer",
      "teacher.momentum",
      "teacher.temp",
      "teacher.momentum_end",
      "teacher.hold_backbone",
      "teacher.warmup_temp",
      "teacher.warmup_temp_epochs",
      "teacher.patch_temp",
      "teacher.temp_changes",
      "teacher.patch_warmup_temp",
      "loss.student_temp",
      "loss.centring",
      "loss.patch_centring",
      "loss.centre_momentum",
      "loss.sinkhorn_iterations",
      "loss.rows_at_once",
      "loss.local_weight",
      "loss.local_weight_end",
      "loss.patch_weight",
      "loss.koleo_*",
      "loss.sigreg_*",
      "gram.*",
  };
  keys.insert(keys.end(), more.begin(), more.end());
  return keys;
}

}  // namespace dinoxx
