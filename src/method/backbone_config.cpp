#include <fmt/format.h>

#include "config/architectures.hpp"
#include "config/train_keys.hpp"
#include "data_pipeline/augment/mask_config.hpp"
#include "data_pipeline/augment/views_config.hpp"
#include "dinoxx/base/error.hpp"
#include "method.hpp"
#include "methods.hpp"
#include "model/model_config.hpp"
#include "model/weights/facts.hpp"

namespace dinoxx {
namespace {

VitConfig vit(const ModelConfig& model, bool masked, bool local_norm) {
  VitConfig vit = vit_config(model.arch, model.style);
  vit.mask_token = masked;  // a parameter without gradient would stop the overlap
  vit.untied_local_cls_norm = vit.untied_local_cls_norm && local_norm;
  vit.image_size = static_cast<int>(model.image_size.value());
  vit.patch_size = static_cast<int>(model.patch_size);
  vit.dim = static_cast<int>(model.dim.value());
  vit.depth = static_cast<int>(model.depth.value());
  vit.heads = static_cast<int>(model.heads.value());
  vit.mlp_ratio = model.mlp_ratio.value();
  vit.drop_path = model.drop_path;
  if (model.stem != "auto") vit.stem = model.stem;
  vit.recompute = {model.recompute, static_cast<int>(model.recompute_every)};
  vit.fit = model.fit;
  // absent in files that were written before there were these keys
  if (model.drop_path_form != "auto") vit.drop_path_form = model.drop_path_form;
  vit.drop_path_group = static_cast<int>(model.drop_path_group);
  if (model.registers) vit.registers = static_cast<int>(*model.registers);
  if (vit.layer_scale > 0 && model.layer_scale.value_or(0) > 0) vit.layer_scale = *model.layer_scale;
  if (model.norm_eps) vit.norm_eps = *model.norm_eps;
  if (model.qkv_bias != "auto") {
    vit.qkv_bias = model.qkv_bias != "none";
    vit.mask_key_bias = model.qkv_bias == "masked";
  }
  if (model.position_resize != "auto") {
    vit.position_offset = model.position_resize == "scaled" ? 0.1 : 0;
    vit.position_antialias = model.position_resize == "antialiased";
  }
  if (model.rope_base) vit.rope.base = *model.rope_base;
  if (model.rope_periods != "auto") vit.rope.bf16_periods = model.rope_periods == "bf16";
  vit.rope.shift = model.rope_shift;
  vit.rope.jitter = model.rope_jitter;
  vit.rope.rescale = model.rope_rescale;
  return vit;
}

}  // namespace

namespace {

BackboneConfig of_keys(const Config& config) {
  const ModelConfig& model = *config.model;
  switch (family_of(model.arch)) {
    case Family::kConvNext: {
      ConvNextConfig convnext = convnext_config(model.arch);
      convnext.drop_path = model.drop_path;
      if (model.norm_eps) convnext.norm_eps = *model.norm_eps;
      return convnext;
    }
    case Family::kResNet: {
      ResNetConfig resnet = resnet_config(model.arch);
      if (model.dim) resnet.width = static_cast<int>(*model.dim / resnet.features_per_width());
      if (model.depth) resnet.depths.fill(static_cast<int>(*model.depth / 4));
      resnet.small_image_stem = model.stem == "small";
      if (model.stem_padding) resnet.stem_padding = static_cast<int>(*model.stem_padding);
      return resnet;
    }
    case Family::kVit:
      break;
  }
  const bool hidden = config.mask->scheme != "none" && config.mask->scheme != "auto" && !find_method(train_method(config)).student_sees_all;
  // what it is for: local crops in groups of their own
  bool local = config.views->local_count.value_or(0) > 0;
  for (const ViewSizes& sizes : resolutions(config)) local = local && sizes.local != sizes.global;
  return vit(model, hidden, local);
}

}  // namespace

BackboneConfig backbone_config(const Config& config) {
  BackboneConfig backbone = of_keys(config);
  const std::string &said = config.model->activation, has = activation_of(backbone);
  if (said != "auto" && said != has)
    fail_usage("model.activation", fmt::format("{}, as a {} has it", has, config.model->arch), said, "Leave it out");
  return backbone;
}

}  // namespace dinoxx
