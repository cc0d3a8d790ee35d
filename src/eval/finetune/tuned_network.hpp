#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/backbones/backbone.hpp"

namespace dinoxx::eval {

/// A way of light fine-tuning: which tensors learn, and how fast.
struct TuningMethod {
  const char* name;
  const char* what;  ///< one line
  double lr;         ///< AdamW's peak rate at a batch of 32
  double head_lr;    ///< factor of the head's rate
  double weight_decay;
  bool layer_decay;  ///< rates fall towards the input
  bool probe_head;   ///< begins with the head of the logistic regression; else with zeros
};
/// lp-ft, lora, bitfit, norm, full.
const std::vector<TuningMethod>& tuning_methods();
const std::vector<std::string>& tuning_names();
const TuningMethod& tuning_method(const std::string& name);

struct LoraOptions {
  int rank = 8;
  double alpha = 16;
  std::vector<std::string> targets{"qkv", "proj"};
};
/// "qkv", "proj", "mlp".
const std::vector<std::string>& lora_targets();

/// A linear head on normalised features: logits = (f / |f| - centre) / scale * weight^T + bias. Where features lie close together, as they
/// often do, centre and scale are what makes a rate mean the same for every checkpoint; they do not learn.
struct TunedHead {
  at::Tensor weight, bias;  ///< [C, D], [C]
  at::Tensor centre = {};   ///< [D]; undefined: 0
  double scale = 0;         ///< 0: 1 / sqrt(D)
};

/// A copy of a backbone with a linear head, of which the tensors of one method learn.
///
/// What learns is a set of leaves of float32 (float64 for a float64 network). The network's own tensors are functions of them, written by
/// bind(): the leaf itself, converted to the network's type, or for LoRA (Hu et al. 2022) W + (alpha / rank) B A. So adapter and merged
/// network are one, every kind of network and kernel is served, and gradients reach the leaves through the copy. The price beside a branch
/// of its own is the gradient of each adapted W, one product of the sizes of its layer.
///
/// Evaluation mode throughout: no stochastic depth, running statistics of batch normalisation as they are.
class TunedNetwork {
 public:
  /// `start` is copied, not changed. `image_size`: of an image to find out by which parameters the feature uses (no mask token). The factor
  /// A of LoRA is U(-1/sqrt(in), 1/sqrt(in)) of (seed, place), B is zero. UsageError when nothing in this network would learn.
  TunedNetwork(const Backbone& start, const TuningMethod& method, const LoraOptions& lora, const TunedHead& head, int image_size,
               uint64_t seed);

  /// Leaves in order of execution: "backbone." + name, with ".lora_a" [rank, in] and ".lora_b" [out, rank] behind it for LoRA;
  /// "head.weight", "head.bias".
  const NamedTensors& trainable() const { return trainable_; }
  int64_t trainable_count() const;
  int64_t total_count() const;  ///< numbers of backbone and head, without factors

  /// The leaves' values go into the network; with gradients enabled they are remembered until settle().
  void bind();
  /// Ends the graph of bind(), the values stay.
  void settle();

  /// [B, C, S, S] -> [B, classes] in the leaves' type, of the network as it was bound.
  at::Tensor logits(const at::Tensor& images) const;
  const Backbone& backbone() const { return *network_; }
  /// The head as it is now, centre and scale folded into weight and bias: logits = f / |f| * weight^T + bias.
  TunedHead folded_head() const;

 private:
  struct Bound {
    at::Tensor target;                // the network's
    at::Tensor leaf;                  // undefined: low rank
    at::Tensor base, lora_a, lora_b;  // target = base + scale lora_b lora_a
  };
  std::unique_ptr<Backbone> network_;
  NamedTensors trainable_;
  std::vector<Bound> bound_;
  TunedHead head_;
  double scale_ = 0;
};

/// The same network with its own copy of the weights.
std::unique_ptr<Backbone> copy_of(const Backbone& network);

}  // namespace dinoxx::eval
