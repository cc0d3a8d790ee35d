// Configuration, parameters and initial values of the vision transformer; what it computes is in vit.cpp.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <map>

#include "dinoxx/base/error.hpp"
#include "model/layers/init.hpp"
#include "model/layers/vit_block.hpp"
#include "vit.hpp"

namespace dinoxx {

namespace {

at::ScalarType checked(const VitConfig& config, at::ScalarType dtype) {
  check_vit_config(config);
  if (dtype != at::kFloat && dtype != at::kBFloat16 && dtype != at::kDouble)
    fail_usage("vision transformer", "float32, bfloat16 or float64", c10::toString(dtype), "Choose one of them");
  return dtype;
}

}  // namespace

VisionTransformer::VisionTransformer(const VitConfig& config, at::ScalarType dtype) : config_(config), dtype_(checked(config, dtype)) {
  std::map<std::string, at::Tensor> by_name;
  for (const auto& [name, shape] : vit_parameters(config)) {
    parameters_.push_back({name, init::uninitialized(shape, dtype)});
    by_name[name] = parameters_.back().tensor;
  }
  // undefined where this network has no such parameter
  const auto take = [&](const std::string& name) {
    const auto found = by_name.find(name);
    return found == by_name.end() ? at::Tensor() : found->second;
  };
  const auto take_pair = [&](const std::string& name, at::Tensor& weight, at::Tensor& bias) {
    weight = take(name + ".weight");
    bias = take(name + ".bias");
  };
  cls_token_ = take("cls_token");
  pos_embed_ = take("pos_embed");
  register_tokens_ = take("register_tokens");
  mask_token_ = take("mask_token");
  for (int i = 0; take(fmt::format("patch_embed.stem.{}.conv.weight", i)).defined(); ++i) {
    const std::string prefix = fmt::format("patch_embed.stem.{}.", i);
    StemLayer& layer = stem_.emplace_back();
    layer.conv_weight = take(prefix + "conv.weight");
    take_pair(prefix + "norm", layer.norm_weight, layer.norm_bias);
  }
  take_pair("patch_embed.proj", patch_weight_, patch_bias_);
  for (int i = 0; i < config.depth; ++i) {
    const std::string prefix = fmt::format("blocks.{}.", i);
    VitBlock& b = blocks_.emplace_back();
    ops::BlockWeights& w = b.plain;
    take_pair(prefix + "norm1", w.norm1_weight, w.norm1_bias);
    take_pair(prefix + "attn.qkv", w.qkv_weight, w.qkv_bias);
    take_pair(prefix + "attn.proj", w.proj_weight, w.proj_bias);
    take_pair(prefix + "norm2", w.norm2_weight, w.norm2_bias);
    take_pair(prefix + "mlp.fc1", w.fc1_weight, w.fc1_bias);
    take_pair(prefix + "mlp.fc2", w.fc2_weight, w.fc2_bias);
    take_pair(prefix + "mlp.w12", b.w12_weight, b.w12_bias);
    take_pair(prefix + "mlp.w3", b.w3_weight, b.w3_bias);
    b.scale1 = take(prefix + "ls1.gamma");
    b.scale2 = take(prefix + "ls2.gamma");
  }
  take_pair("norm", norm_weight_, norm_bias_);
  take_pair("cls_norm", cls_norm_weight_, cls_norm_bias_);
  take_pair("local_cls_norm", local_norm_weight_, local_norm_bias_);
}

VisionTransformer::~VisionTransformer() = default;
VisionTransformer::VisionTransformer(VisionTransformer&&) noexcept = default;
VisionTransformer& VisionTransformer::operator=(VisionTransformer&&) noexcept = default;

void VisionTransformer::initialize(uint64_t seed) {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& [name, tensor] = parameters_[i];
    const uint64_t index = init::kBackbone + i;
    const bool is_bias = name.ends_with(".bias");
    if (name.starts_with("patch_embed.proj.")) {
      init::fan_in_uniform(tensor, patch_weight_.numel() / config_.dim, seed, index);
    } else if (name.ends_with("conv.weight")) {
      init::fan_in_uniform(tensor, tensor.numel() / tensor.size(0), seed, index);
    } else if (name.ends_with("gamma")) {
      init::constant(tensor, config_.layer_scale);
    } else if (name == "mask_token") {
      init::constant(tensor, 0.0);
    } else if (name == "cls_token" || name == "register_tokens") {
      init::truncated_normal(tensor, config_.token_std, seed, index);
    } else if (name.find("norm") != std::string::npos) {
      init::constant(tensor, is_bias ? 0.0 : 1.0);
    } else if (is_bias) {
      init::constant(tensor, 0.0);
    } else {
      init::truncated_normal(tensor, 0.02, seed, index);
    }
  }
}

}  // namespace dinoxx
