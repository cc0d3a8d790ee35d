#include "dino_head.hpp"

#include <ATen/ATen.h>

#include "dinoxx/base/error.hpp"
#include "model/layers/init.hpp"
#include "ops/ops.hpp"

namespace dinoxx {

DinoHead::DinoHead(const DinoHeadConfig& config, at::ScalarType dtype) : config_(config) {
  if (config.in_dim < 1 || config.hidden_dim < 1 || config.bottleneck_dim < 1 || config.out_dim < 0 || config.layers < 1)
    fail_usage("projection head", "positive sizes",
               fmt::format("{} -> {} -> {} -> {} with {} layers", config.in_dim, config.hidden_dim, config.bottleneck_dim, config.out_dim,
                           config.layers),
               "Correct the head's sizes");
  const auto add = [&](const std::string& name, at::IntArrayRef shape, NamedTensors& of) {
    of.push_back({name, init::uninitialized(shape, dtype)});
    parameters_.push_back(of.back());
  };
  int64_t in = config.in_dim;
  norms_.reserve(static_cast<size_t>(config.layers));
  for (int i = 0; i < config.layers; ++i) {
    const bool hidden = i + 1 < config.layers;
    const int64_t out = hidden ? config.hidden_dim : config.bottleneck_dim;
    // a Sequential numbers its norms and GELUs too; a single layer is no Sequential
    const int number = (config.batch_norm ? 3 : 2) * i;
    const std::string prefix = config.layers == 1 ? std::string("mlp.") : fmt::format("mlp.{}.", number);
    add(prefix + "weight", {out, in}, linear_);
    add(prefix + "bias", {out}, linear_);
    if (hidden && config.batch_norm) norms_.emplace_back(out, dtype).append_to(fmt::format("mlp.{}.", number + 1), parameters_, buffers_);
    in = out;
  }
  if (config.out_dim == 0) return;
  if (!config.weight_norm) {
    add("last_layer.weight", {config.out_dim, config.bottleneck_dim}, prototypes_);
    return;
  }
  add("last_layer.weight_g", {config.out_dim, 1}, prototypes_);
  add("last_layer.weight_v", {config.out_dim, config.bottleneck_dim}, prototypes_);
}

void DinoHead::initialize(uint64_t seed, uint64_t first) {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& [name, tensor] = parameters_[i];
    if (name == "last_layer.weight_g" || (tensor.dim() == 1 && name.ends_with(".weight")))
      init::constant(tensor, 1.0);
    else if (name == "last_layer.weight_v")
      init::fan_in_uniform(tensor, config_.bottleneck_dim, seed, first + i);
    else if (name.ends_with(".bias"))
      init::constant(tensor, 0.0);
    else
      init::truncated_normal(tensor, 0.02, seed, first + i);
  }
}

namespace {

/// Rows divided by their L2 norm, or by 1e-12 if that is larger (torch.nn.functional.normalize); the norm of bfloat16 rows in float32.
at::Tensor normalize_rows(const at::Tensor& x) {
  const at::Tensor wide = x.scalar_type() == at::kBFloat16 ? x.to(at::kFloat) : x;
  return (wide / at::linalg_vector_norm(wide, 2, at::IntArrayRef{-1}, /*keepdim=*/true).clamp_min(1e-12)).to(x.scalar_type());
}

}  // namespace

at::Tensor DinoHead::bottleneck(const at::Tensor& x, bool training) const {
  at::Tensor y = x;
  const auto layers = static_cast<size_t>(config_.layers);
  for (size_t i = 0; i < layers; ++i) {
    y = ops::linear(y, linear_[2 * i].tensor, linear_[2 * i + 1].tensor);
    if (i + 1 == layers) break;
    if (config_.batch_norm) y = norms_[i].forward(y, training);
    y = ops::gelu(y);
  }
  return normalize_rows(y);
}

at::Tensor DinoHead::prototypes() const {
  if (!config_.weight_norm) return prototypes_[0].tensor;
  // g v / |v| per row (Salimans & Kingma 2016), without bias
  return at::_weight_norm(prototypes_[1].tensor, prototypes_[0].tensor, 0);
}

at::Tensor DinoHead::logits(const at::Tensor& bottleneck) const {
  return ops::linear(bottleneck, prototypes(), {});
}

at::Tensor DinoHead::forward(const at::Tensor& x, bool training) const {
  const at::Tensor rows = bottleneck(x, training);
  return config_.out_dim == 0 ? rows : logits(rows);
}

}  // namespace dinoxx
