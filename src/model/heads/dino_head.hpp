#pragma once
#include <cstdint>

#include "comm/named_tensor.hpp"

namespace dinoxx {

struct DinoHeadConfig {
  int in_dim = 384, hidden_dim = 2048, bottleneck_dim = 256, out_dim = 65536;
  int layers = 3;           ///< linear layers before the normalisation; 1 = a single Linear in -> bottleneck
  bool weight_norm = true;  ///< of the last layer; false: a plain linear layer without bias (DINOv3, dino_family.md 3.2)
};

/// DINO projection head: MLP with GELU, L2 normalisation, weight-normalised linear layer without bias (dino_family.md 1.3).
/// Names: mlp.{0,2,4}.{weight,bias}, last_layer.weight_g [K,1], last_layer.weight_v [K, bottleneck];
/// without weight normalisation last_layer.weight [K, bottleneck].
class DinoHead {
 public:
  DinoHead(const DinoHeadConfig& config, at::ScalarType dtype);
  const DinoHeadConfig& config() const { return config_; }
  const NamedTensors& parameters() const { return parameters_; }
  /// weight_g = 1; weight_v keeps torch.nn.Linear's default (uniform +-1/sqrt(fan_in)); MLP and a plain last layer truncated normal 0.02,
  /// bias 0. `first`: index of the first parameter's draw.
  void initialize(uint64_t seed, uint64_t first);
  /// x [N, in_dim] -> logits [N, K].
  at::Tensor forward(const at::Tensor& x) const;
  /// The two halves of forward: x [N, in_dim] -> normalised [N, bottleneck_dim] -> logits [N, K].
  at::Tensor bottleneck(const at::Tensor& x) const;
  at::Tensor logits(const at::Tensor& bottleneck) const;
  /// What logits() multiplies with: [K, bottleneck_dim], normalised where the last layer is.
  at::Tensor prototypes() const;

 private:
  DinoHeadConfig config_;
  NamedTensors parameters_;
};

}  // namespace dinoxx
