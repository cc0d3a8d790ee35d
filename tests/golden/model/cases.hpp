#pragma once
#include <ATen/ATen.h>

#include "golden.hpp"
#include "model/backbones/vit.hpp"
#include "model/heads/dino_head.hpp"

/// The networks of make_model.py and how its gradients are taken.
namespace dinoxx::golden {

inline VitConfig tiny_vit() {
  VitConfig config;
  config.image_size = 16;
  config.patch_size = 4;
  config.dim = 48;
  config.depth = 2;
  config.heads = 3;
  return config;
}

/// The networks of make_vit_family.py and make_published.py.
struct FamilyCase {
  const char *name, *style;
  bool swiglu;
  friend void PrintTo(const FamilyCase& c, std::ostream* out) { *out << c.name; }
};
inline VitConfig family_vit(const FamilyCase& c) {
  VitConfig config = vit_config("vit_tiny", c.style);
  config.image_size = 16;
  config.patch_size = 4;
  config.dim = 48;
  config.depth = 3;
  config.heads = 3;
  if (config.registers > 0) config.registers = 2;
  if (c.swiglu) {
    config.ffn = "swiglu";
    config.mlp_ratio = std::string(c.style) == "dinov3" ? 6 : 4;
  }
  return config;
}
/// `without_key_bias`: what an import makes of a bias whose keys' part is masked.
inline void fill_family(const NamedTensors& parameters, bool without_key_bias = false) {
  fill_parameters(parameters);
  at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : parameters) {
    if (name.ends_with("gamma")) tensor.copy_(0.7 + 0.3 * uniform(name, tensor.sizes()));
    if (name == "register_tokens" || name == "mask_token") tensor.copy_(0.5 * uniform(name, tensor.sizes()));
    if (without_key_bias && name.ends_with("attn.qkv.bias")) tensor.narrow(0, tensor.size(0) / 3, tensor.size(0) / 3).zero_();
  }
}

inline DinoHeadConfig tiny_head(int layers = 3) {
  DinoHeadConfig config;
  config.in_dim = 48;
  config.hidden_dim = 40;
  config.bottleneck_dim = 16;
  config.out_dim = 37;
  config.layers = layers;
  return config;
}

/// float64 must agree to 1e-9, float32 to 1e-5: with the kernels in use and with the formulas behind them.
struct Precision {
  at::ScalarType dtype;
  bool fused;
  double tolerance;
};
inline std::vector<Precision> precisions() {
  return {{at::kDouble, true, 1e-9}, {at::kFloat, true, 1e-5}, {at::kFloat, false, 1e-5}};
}

/// Sets the kernels for one scope.
class FusedScope {
 public:
  explicit FusedScope(bool fused) { ops::set_fused(fused); }
  ~FusedScope() { ops::set_fused(true); }
};

inline void require_gradients(const NamedTensors& parameters, const std::string& except = "-") {
  for (const auto& [name, tensor] : parameters) tensor.set_requires_grad(!name.ends_with(except));
}

/// Gradient of sum(output * uniform(name + "/direction")).
inline void backward(const at::Tensor& output, const std::string& name) {
  (output * uniform(name + "/direction", output.sizes()).to(output.scalar_type())).sum().backward();
}

inline void expect_gradients(const Fixture& fixture, const std::string& prefix, const NamedTensors& parameters, double tolerance) {
  for (const auto& [name, tensor] : parameters) {
    if (!tensor.requires_grad()) continue;
    EXPECT_TRUE(fixture.matches(prefix + "/grad/" + name, tensor.grad(), tolerance));
  }
}

}  // namespace dinoxx::golden
