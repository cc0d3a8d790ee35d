#pragma once
#include <ATen/ATen.h>

#include "golden.hpp"
#include "model/backbones/vit.hpp"

namespace dinoxx {

inline VitConfig small_vit(double drop_path = 0.0, const std::string& stem = "patch") {
  VitConfig config;
  config.image_size = 16;
  config.patch_size = 4;
  config.dim = 32;
  config.depth = 3;
  config.heads = 2;
  config.drop_path = drop_path;
  config.stem = stem;
  return config;
}

/// A network with lively parameters that want gradients.
inline VisionTransformer lively_vit(const VitConfig& config, at::ScalarType dtype) {
  VisionTransformer vit(config, dtype);
  golden::fill_parameters(vit.parameters());
  for (const auto& [name, tensor] : vit.parameters()) tensor.set_requires_grad(true);
  return vit;
}

/// Gradients of sum(output * fixed direction), by parameter; the parameters' own gradients are left undefined.
inline std::vector<at::Tensor> gradients_of(const VisionTransformer& vit, const at::Tensor& output) {
  (output * golden::uniform("direction", output.sizes()).to(output.scalar_type())).sum().backward();
  std::vector<at::Tensor> gradients;
  for (const auto& [name, tensor] : vit.parameters()) {
    gradients.push_back(tensor.grad());
    tensor.mutable_grad() = at::Tensor();
  }
  return gradients;
}

}  // namespace dinoxx
