#pragma once
#include <cstdint>
#include <vector>

#include "comm/named_tensor.hpp"
#include "model/layers/batch_norm.hpp"

namespace dinoxx {

struct DinoHeadConfig {
  int in_dim = 384, hidden_dim = 2048, bottleneck_dim = 256;
  int out_dim = 65536;      ///< prototypes; 0: none, the head ends with the normalised rows (SimDINO)
  int layers = 3;           ///< linear layers before the normalisation; 1 = a single Linear in -> bottleneck
  bool batch_norm = false;  ///< behind each hidden layer (use_bn_in_head of facebookresearch/dino)
  bool weight_norm = true;  ///< of the last layer; false: a plain linear layer without bias (DINOv3, dino_family.md 3.2)
};

/// DINO projection head: MLP with GELU, L2 normalisation, weight-normalised linear layer without bias (dino_family.md 1.3).
/// Names: mlp.{0,2,4}.{weight,bias} (with batch norm mlp.{0,3,6}, mlp.{1,4} the norms and their running statistics), last_layer.weight_g
/// [K,1], last_layer.weight_v [K, bottleneck]; without weight normalisation last_layer.weight [K, bottleneck]; without prototypes neither.
class DinoHead {
 public:
  DinoHead(const DinoHeadConfig& config, at::ScalarType dtype);
  const DinoHeadConfig& config() const { return config_; }
  const NamedTensors& parameters() const { return parameters_; }
  const NamedTensors& buffers() const { return buffers_; }
  /// weight_g = 1; weight_v keeps torch.nn.Linear's default (uniform +-1/sqrt(fan_in)); MLP and a plain last layer truncated normal 0.02,
  /// bias 0. `first`: index of the first parameter's draw.
  void initialize(uint64_t seed, uint64_t first);
  /// x [N, in_dim] -> logits [N, K]; without prototypes the normalised [N, bottleneck_dim].
  at::Tensor forward(const at::Tensor& x, bool training) const;
  /// The two halves of forward: x [N, in_dim] -> normalised [N, bottleneck_dim] -> logits [N, K].
  at::Tensor bottleneck(const at::Tensor& x, bool training) const;
  at::Tensor logits(const at::Tensor& bottleneck) const;
  /// What logits() multiplies with: [K, bottleneck_dim], normalised where the last layer is.
  at::Tensor prototypes() const;
  /// One for each hidden layer with batch_norm, else none.
  std::vector<BatchNorm>& norms() { return norms_; }

 private:
  DinoHeadConfig config_;
  NamedTensors linear_;  // of the MLP: weight, bias of each layer
  NamedTensors prototypes_;
  std::vector<BatchNorm> norms_;
  NamedTensors parameters_, buffers_;
};

}  // namespace dinoxx
