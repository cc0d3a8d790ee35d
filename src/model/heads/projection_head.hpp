#pragma once
#include <cstdint>
#include <memory>
#include <variant>

#include "dino_head.hpp"
#include "model/layers/batch_norm.hpp"

namespace dinoxx {

/// Linear layers, BatchNorm and ReLU behind each but the last: projector and predictor of BYOL (Grill et al. 2020), projector of SimCLR
/// (Chen et al. 2020), expander of VICReg (Bardes et al. 2022).
struct MlpHeadConfig {
  int in_dim = 512, hidden_dim = 4096, out_dim = 256;
  bool norm_output = false;  ///< BatchNorm in place of the last layer's bias, as in SimCLR's released code
  int layers = 2;
  bool output_bias = true;  ///< of the last layer; false where the loss does not see it
  bool hidden_norm = true;  ///< BatchNorm behind the hidden layers
};

/// Names: mlp.{0,3,...}.{weight,bias} the linear layers, mlp.{1,4,...}.* the BatchNorms and their running statistics; of the last layer the
/// weight alone with norm_output or without output_bias.
class MlpHead {
 public:
  MlpHead(const MlpHeadConfig& config, at::ScalarType dtype);
  const NamedTensors& parameters() const { return parameters_; }
  const NamedTensors& buffers() const { return buffers_; }
  /// torch.nn.Linear's default: uniform in +-1/sqrt(fan_in), weights and biases. `first`: index of the first parameter's draw.
  void initialize(uint64_t seed, uint64_t first);
  /// x [N, in_dim] -> [N, out_dim]. training: batch statistics.
  at::Tensor forward(const at::Tensor& x, bool training) const;
  /// One for each hidden layer with hidden_norm, and one more with norm_output.
  std::vector<BatchNorm>& norms() { return norms_; }

 private:
  MlpHeadConfig config_;
  std::vector<at::Tensor> weights_, biases_;  // of each layer; undefined where there is no bias
  std::vector<BatchNorm> norms_;
  NamedTensors of_norms_, parameters_, buffers_;
};

using ProjectionConfig = std::variant<DinoHeadConfig, MlpHeadConfig>;
int in_dim(const ProjectionConfig& config);
int out_dim(const ProjectionConfig& config);
/// 0 for a head without.
int prototypes(const ProjectionConfig& config);

/// Either kind of head.
class ProjectionHead {
 public:
  ProjectionHead(const ProjectionConfig& config, at::ScalarType dtype);
  const NamedTensors& parameters() const;
  const NamedTensors& buffers() const;
  /// Each group of crops goes through by itself where batch statistics are a group's own (BYOL, SimCLR); DINO's head takes all together.
  bool statistics_by_group() const;
  /// `number`: of this head among those of its network, so that no two draw the same numbers.
  void initialize(uint64_t seed, int number);
  at::Tensor forward(const at::Tensor& x, bool training) const;
  /// See DinoHead. Error for another head.
  at::Tensor bottleneck(const at::Tensor& x, bool training) const;
  at::Tensor logits(const at::Tensor& bottleneck) const;
  at::Tensor prototypes() const;
  /// As for a backbone.
  void set_statistics_group(const std::shared_ptr<Communicator>& group);
  void commit_statistics();
  void discard_statistics();

 private:
  std::vector<BatchNorm>& norms();
  const DinoHead& with_prototypes() const;
  std::variant<DinoHead, MlpHead> head_;
};

}  // namespace dinoxx
