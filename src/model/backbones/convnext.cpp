#include "convnext.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <numeric>

#include "base/stop_scope.hpp"
#include "dinoxx/base/error.hpp"
#include "model/layers/stochastic_depth.hpp"
#include "ops/ops.hpp"

namespace dinoxx {
namespace {

// Activations are [B, h, w, C]: norms and linear layers see contiguous rows, and convolutions see channels-last images, both without a
// copy.
at::Tensor as_images(const at::Tensor& rows) {
  return rows.permute({0, 3, 1, 2});
}
at::Tensor as_rows(const at::Tensor& images) {
  return images.permute({0, 2, 3, 1}).contiguous();
}

}  // namespace

at::Tensor ConvNext::run_block(const at::Tensor& x, const Block& b, const at::Tensor& drop_scale) const {
  StopScope::check();  // a forward of many images may take minutes
  const int64_t dim = x.size(3);
  const at::Tensor mixed = as_rows(at::conv2d(as_images(x), b.conv_weight, b.conv_bias, 1, 3, 1, dim));
  const at::Tensor normed = ops::layer_norm(mixed, b.norm_weight, b.norm_bias, config_.norm_eps);
  const at::Tensor branch = ops::linear(ops::linear_gelu(normed, b.fc1_weight, b.fc1_bias), b.fc2_weight, b.fc2_bias);
  if (!drop_scale.defined()) return at::addcmul(x, branch, b.gamma);
  return at::addcmul(x, branch * b.gamma, drop_scale.to(x.scalar_type()).view({-1, 1, 1, 1}));
}

std::vector<at::Tensor> ConvNext::run(const at::Tensor& images, const RowOrigin* origin) const {
  if (images.dim() != 4 || images.size(0) < 1 || images.size(1) != config_.channels)
    fail("ConvNeXt input", fmt::format("images [B, {}, H, W]", config_.channels), fmt::format("{}", fmt::join(images.sizes(), " x ")),
         "Check the number of channels of the data and of the model");
  if (images.size(2) < stride() || images.size(3) < stride())
    fail("ConvNeXt input", fmt::format("sides of {} pixels or more", stride()),
         fmt::format("{} x {} pixels", images.size(2), images.size(3)), "Use larger crops");

  VitConfig rule;  // that of the family's other backbones: linear over depth, each sample by its own draw
  rule.drop_path = config_.drop_path;
  rule.depth = std::accumulate(config_.depths.begin(), config_.depths.end(), 0);
  size_t index = 0;
  std::vector<at::Tensor> outputs;
  at::Tensor x = images.to(dtype_).contiguous(at::MemoryFormat::ChannelsLast);
  const BranchDraws draws(rule, origin, x.size(0), 1, x.options());
  for (size_t s = 0; s < stages_.size(); ++s) {
    const Stage& stage = stages_[s];
    const auto norm = [&](const at::Tensor& rows) { return ops::layer_norm(rows, stage.norm_weight, stage.norm_bias, config_.norm_eps); };
    if (s == 0)
      x = norm(as_rows(at::conv2d(x, stage.conv_weight, stage.conv_bias, 4)));
    else
      x = as_rows(at::conv2d(as_images(norm(x)), stage.conv_weight, stage.conv_bias, 2));
    for (const Block& block : stage.blocks) x = run_block(x, block, draws.of(index++, 0).scale);
    outputs.push_back(x);
  }
  return outputs;
}

at::Tensor ConvNext::final_norm(const at::Tensor& x) const {
  return ops::layer_norm(x, norm_weight_, norm_bias_, config_.norm_eps);
}

at::Tensor ConvNext::forward(const at::Tensor& images, const RowOrigin* origin) const {
  return final_norm(run(images, origin).back().mean({1, 2}));
}

ConvFeatures ConvNext::forward_features(const at::Tensor& images, const RowOrigin* origin) const {
  ConvFeatures out;
  const std::vector<at::Tensor> stages = run(images, origin);
  const at::Tensor& last = stages.back();
  out.cls = final_norm(last.mean({1, 2}));
  out.patches = final_norm(last.flatten(1, 2));
  out.registers = out.cls.new_empty({last.size(0), 0, last.size(3)});
  for (const at::Tensor& stage : stages) out.stages.push_back(as_images(stage));
  return out;
}

}  // namespace dinoxx
