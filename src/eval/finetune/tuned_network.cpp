#include "tuned_network.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/rng.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx::eval {
namespace {

constexpr const char* kWeight = ".weight";

bool is_target(const std::string& name, const LoraOptions& lora) {
  for (const std::string& target : lora.targets) {
    if (target == "mlp") {
      for (const char* layer : {"mlp.fc1.weight", "mlp.fc2.weight", "mlp.w12.weight", "mlp.w3.weight"})
        if (name.ends_with(layer)) return true;
    } else if (name.ends_with(fmt::format("attn.{}.weight", target))) {
      return true;
    }
  }
  return false;
}

// Every vector called weight is the gain of a norm, whatever the network; a norm's bias stands beside such a gain.
bool is_norm(const std::string& name, const at::Tensor& tensor, const std::set<std::string>& gains) {
  if (tensor.dim() != 1) return false;
  if (name.ends_with(kWeight) || name.ends_with("gamma")) return true;
  const size_t dot = name.rfind('.');
  return dot != std::string::npos && gains.contains(name.substr(0, dot) + kWeight);
}

NamedTensors chosen(const NamedTensors& parameters, const std::string& method, const LoraOptions& lora) {
  std::set<std::string> gains;
  for (const auto& [name, tensor] : parameters)
    if (tensor.dim() == 1 && name.ends_with(kWeight)) gains.insert(name);
  NamedTensors result;
  for (const NamedTensor& parameter : parameters) {
    const auto& [name, tensor] = parameter;
    const bool learns = method == "lora"     ? is_target(name, lora)
                        : method == "bitfit" ? name.ends_with("bias")
                        : method == "norm"   ? is_norm(name, tensor, gains)
                                             : true;
    if (learns) result.push_back(parameter);
  }
  return result;
}

// Of `parameters` those that the feature is a function of: a mask token and norms of other tokens would never get a gradient.
NamedTensors used(const Backbone& network, const NamedTensors& parameters, int image_size) {
  const at::AutoGradMode with_grad(true);
  for (const auto& [name, tensor] : parameters) tensor.set_requires_grad(true);
  const at::Tensor image =
      at::zeros({1, channels_of(network.config()), image_size, image_size}, parameters.front().tensor.options().requires_grad(false));
  network.forward(image).sum().backward();
  NamedTensors result;
  for (const NamedTensor& parameter : parameters) {
    if (parameter.tensor.grad().defined()) result.push_back(parameter);
    parameter.tensor.mutable_grad() = at::Tensor();
    parameter.tensor.set_requires_grad(false);
  }
  return result;
}

std::string why_nothing(const std::string& method) {
  if (method == "lora") return "attention and feed-forward layers of a vision transformer, which this network does not have";
  if (method == "bitfit") return "biases, which this network does not have";
  return "parameters of that kind, which this network does not have";
}

at::Tensor low_rank_start(int64_t rank, int64_t in, uint64_t seed, uint32_t place, const at::TensorOptions& options) {
  const at::Tensor a = at::empty({rank, in}, at::kDouble);
  CounterRng rng(seed, place, 1, Purpose::kInit);
  const double bound = 1 / std::sqrt(static_cast<double>(in));
  for (int64_t i = 0; i < a.numel(); ++i) a.data_ptr<double>()[i] = rng.uniform(-bound, bound);
  return a.to(options);
}

}  // namespace

const std::vector<TuningMethod>& tuning_methods() {
  static const std::vector<TuningMethod> methods{
      {"lp-ft", "linear probe first, then everything at a small rate", 2e-5, 1, 0.05, false, true},
      {"lora", "low-rank adapters", 1e-3, 1, 0, false, true},
      {"bitfit", "biases", 1e-3, 1, 0, false, true},
      {"norm", "gains and biases of norms, LayerScale", 1e-3, 1, 0, false, true},
      {"full", "everything from a head of zeros, rates falling towards the input", 1e-4, 10, 0.05, true, false},
  };
  return methods;
}

const std::vector<std::string>& tuning_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const TuningMethod& method : tuning_methods()) all.emplace_back(method.name);
    return all;
  }();
  return names;
}

const TuningMethod& tuning_method(const std::string& name) {
  for (const TuningMethod& method : tuning_methods())
    if (method.name == name) return method;
  const std::string near = nearest_name(name, tuning_names());
  fail_usage("--finetune.methods", "a way of fine-tuning", fmt::format("\"{}\"", name),
             near.empty() ? "See \"dinoxx eval --help\"." : fmt::format("Did you mean {}?", near));
}

const std::vector<std::string>& lora_targets() {
  static const std::vector<std::string> names{"qkv", "proj", "mlp"};
  return names;
}

std::unique_ptr<Backbone> copy_of(const Backbone& network) {
  const at::NoGradGuard no_grad;
  auto copy = make_backbone(network.config(), network.parameters().front().tensor.scalar_type());
  const NamedTensors from = stored_state(network), to = stored_state(*copy);
  for (size_t i = 0; i < from.size(); ++i) to[i].tensor.set_data(from[i].tensor.detach().clone());
  return copy;
}

TunedNetwork::TunedNetwork(const Backbone& start, const TuningMethod& method, const LoraOptions& lora, const TunedHead& head,
                           int image_size, uint64_t seed)
    : network_(copy_of(start)), scale_(lora.alpha / lora.rank) {
  for (const auto& [name, tensor] : network_->parameters()) tensor.set_requires_grad(false);
  NamedTensors learns = chosen(network_->parameters(), method.name, lora);
  if (!learns.empty()) learns = used(*network_, learns, image_size);
  if (learns.empty())
    fail_usage(fmt::format("fine-tuning by {}", method.name), why_nothing(method.name), "no such parameters", "Choose another method.");
  const bool wide = learns.front().tensor.scalar_type() == at::kDouble;
  const at::TensorOptions options = learns.front().tensor.options().dtype(wide ? at::kDouble : at::kFloat).requires_grad(false);
  uint32_t place = 0;
  for (const auto& [name, tensor] : learns) {
    const std::string full = "backbone." + name;
    if (std::string(method.name) != "lora") {
      trainable_.push_back({full, tensor.detach().to(options, /*non_blocking=*/false, /*copy=*/true)});
      bound_.push_back({tensor, trainable_.back().tensor, {}, {}, {}});
      continue;
    }
    const at::Tensor a = low_rank_start(lora.rank, tensor.size(1), seed, place++, options);
    const at::Tensor b = at::zeros({tensor.size(0), lora.rank}, options);
    trainable_.push_back({full + ".lora_a", a});
    trainable_.push_back({full + ".lora_b", b});
    bound_.push_back({tensor, {}, tensor.detach().to(options, false, /*copy=*/true), a, b});
  }
  const auto dim = static_cast<double>(head.weight.size(1));
  head_ = {head.weight.to(options, false, true), head.bias.to(options, false, true),
           head.centre.defined() ? head.centre.to(options, false, true) : at::zeros({head.weight.size(1)}, options),
           head.scale > 0 ? head.scale : 1 / std::sqrt(dim)};
  trainable_.push_back({"head.weight", head_.weight});
  trainable_.push_back({"head.bias", head_.bias});
}

int64_t TunedNetwork::trainable_count() const {
  int64_t count = 0;
  for (const auto& [name, tensor] : trainable_) count += tensor.numel();
  return count;
}

int64_t TunedNetwork::total_count() const {
  int64_t count = head_.weight.numel() + head_.bias.numel();
  for (const auto& [name, tensor] : network_->parameters()) count += tensor.numel();
  return count;
}

void TunedNetwork::bind() {
  for (const Bound& bound : bound_) {
    at::Tensor target = bound.target;
    target.copy_(bound.leaf.defined() ? bound.leaf : bound.base + scale_ * at::mm(bound.lora_b, bound.lora_a));
  }
}

void TunedNetwork::settle() {
  for (const Bound& bound : bound_) {
    at::Tensor target = bound.target;
    target.detach_();
  }
}

at::Tensor TunedNetwork::logits(const at::Tensor& images) const {
  const at::Tensor input = images.to(network_->parameters().front().tensor.options().requires_grad(false));
  const at::Tensor features = network_->forward(input).to(head_.weight.scalar_type());
  const at::Tensor norm = at::linalg_vector_norm(features, 2, {-1}, /*keepdim=*/true).clamp_min(1e-12);
  return at::linear((features / norm - head_.centre) * (1 / head_.scale), head_.weight, head_.bias);
}

TunedHead TunedNetwork::folded_head() const {
  const at::NoGradGuard no_grad;
  const at::Tensor weight = head_.weight / head_.scale;
  return {weight, head_.bias - at::mv(weight, head_.centre), {}, 1};
}

}  // namespace dinoxx::eval
