#include "data_pipeline/augment/view_profiles.hpp"
#include "recipes.hpp"

namespace dinoxx {
namespace {

DinoHeadConfig head(const Config& config, int in_dim, int64_t hidden, int64_t bottleneck, int64_t out) {
  DinoHeadConfig head;
  head.in_dim = in_dim;
  head.hidden_dim = static_cast<int>(hidden);
  head.bottleneck_dim = static_cast<int>(bottleneck);
  head.out_dim = static_cast<int>(out);
  head.layers = static_cast<int>(config.head.layers);
  head.weight_norm = *config.head.weight_norm;
  return head;
}

MaskPlan mask_plan(const Config& config) {
  MaskPlan plan;
  MaskSpec& spec = plan.spec;
  const MaskConfig& mask = config.mask;
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
  plan.patch_size = static_cast<int>(config.model.patch_size);
  plan.student_sees_all = config.train.method == "distill";
  return plan;
}

}  // namespace

void configure_views(MethodSpec& spec, const Config& config) {
  const ViewsConfig& views = config.views;
  ProfileOptions options;
  options.global_scale_min = views.global_scale_min;
  options.global_scale_max = views.global_scale_max;
  options.local_count = static_cast<int>(*views.local_count);
  if (*views.local_count > 0) {
    options.local_scale_min = views.local_scale_min;
    options.local_scale_max = views.local_scale_max;
  }
  options.flip_p = views.flip;
  if (!views.blur) options.blur = false;
  for (const ViewSizes& sizes : resolutions(config)) {
    options.global_size = static_cast<int>(sizes.global);
    if (*views.local_count > 0) options.local_size = static_cast<int>(sizes.local);
    options.gram_size.reset();
    if (config.gram.weight > 0 && sizes.gram > 0) options.gram_size = static_cast<int>(sizes.gram);
    ViewPlan plan = profile_views(views.profile, options);
    plan.share = sizes.share;
    if (spec.views.views.empty())
      spec.views = std::move(plan);
    else
      spec.other_views.push_back(std::move(plan));
  }
}

MethodSpec recipe_prototypes(const Config& config) {
  MethodSpec spec;
  configure_views(spec, config);
  spec.network.backbone = backbone_config(config);
  const int dim = feature_dim(spec.network.backbone);
  const bool patches = *config.loss.patch_weight > 0, own_patch_head = patches && !*config.head.shared;
  spec.network.head = {own_patch_head ? "dino_head" : "head",
                       head(config, dim, *config.head.hidden_dim, config.head.bottleneck_dim, *config.head.out_dim)};
  if (own_patch_head)
    spec.network.patch_head = {
        "ibot_head", head(config, dim, *config.head.patch_hidden_dim, *config.head.patch_bottleneck_dim, *config.head.patch_out_dim)};
  spec.norm_last_layer = *config.head.norm_last_layer;
  spec.teacher = config.train.method == "distill" ? TeacherPolicy::kFrozen : TeacherPolicy::kEma;
  if (config.mask.scheme != "none") spec.masks = mask_plan(config);
  spec.centre = config.loss.centring == "centre";
  spec.terms.push_back(dino_term(config));
  if (patches) {
    spec.patch_centre = config.loss.patch_centring == "centre";
    spec.terms.push_back(patch_term(config));
  }
  if (*config.loss.koleo_weight > 0) spec.terms.push_back(koleo_term(config));
  if (config.gram.weight > 0) {
    spec.gram = {config.gram.teacher, static_cast<int>(config.model.patch_size)};
    spec.terms.push_back(gram_term(config));
  }
  return spec;
}

}  // namespace dinoxx
