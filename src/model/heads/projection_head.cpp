#include "projection_head.hpp"

#include <ATen/ATen.h>

#include "dinoxx/base/error.hpp"
#include "model/layers/init.hpp"
#include "ops/ops.hpp"

namespace dinoxx {
namespace {

constexpr uint64_t kHeadParameters = 4096;  // more than any head has

}  // namespace

MlpHead::MlpHead(const MlpHeadConfig& config, at::ScalarType dtype) : config_(config) {
  norms_.reserve(static_cast<size_t>(config.layers));
  int64_t in = config.in_dim;
  for (int i = 0; i < config.layers; ++i) {
    const bool last = i + 1 == config.layers;
    const int64_t out = last ? config.out_dim : config.hidden_dim;
    const int number = 3 * i;  // a Sequential numbers its norms and ReLUs too
    weights_.push_back(init::uninitialized({out, in}, dtype));
    parameters_.push_back({fmt::format("mlp.{}.weight", number), weights_.back()});
    const bool bias = !last || (config.output_bias && !config.norm_output);
    biases_.push_back(bias ? init::uninitialized({out}, dtype) : at::Tensor());
    if (bias) parameters_.push_back({fmt::format("mlp.{}.bias", number), biases_.back()});
    in = out;
    if (!(last ? config.norm_output : config.hidden_norm)) continue;
    NamedTensors of_norm;
    norms_.emplace_back(out, dtype).append_to(fmt::format("mlp.{}.", number + 1), of_norm, buffers_);
    for (NamedTensors* const to : {&parameters_, &of_norms_}) to->insert(to->end(), of_norm.begin(), of_norm.end());
  }
}

void MlpHead::initialize(uint64_t seed, uint64_t first) {
  for (size_t i = 0; i < weights_.size(); ++i) {
    const int64_t fan_in = weights_[i].size(1);
    init::fan_in_uniform(weights_[i], fan_in, seed, first + 2 * i);
    if (biases_[i].defined()) init::fan_in_uniform(biases_[i], fan_in, seed, first + 2 * i + 1);
  }
  for (const auto& [name, tensor] : of_norms_) init::constant(tensor, name.ends_with(".weight") ? 1.0 : 0.0);
}

at::Tensor MlpHead::forward(const at::Tensor& x, bool training) const {
  at::Tensor y = x;
  for (size_t i = 0; i < weights_.size(); ++i) {
    y = ops::linear(y, weights_[i], biases_[i]);
    const bool last = i + 1 == weights_.size();
    if (last)
      y = config_.norm_output ? norms_.back().forward(y, training) : y;
    else
      y = config_.hidden_norm ? norms_[i].forward_relu(y, training) : at::relu(y);
  }
  return y;
}

int in_dim(const ProjectionConfig& config) {
  return std::visit([](const auto& c) { return c.in_dim; }, config);
}
int out_dim(const ProjectionConfig& config) {
  const int dim = std::visit([](const auto& c) { return c.out_dim; }, config);
  return dim > 0 ? dim : std::get<DinoHeadConfig>(config).bottleneck_dim;
}
int prototypes(const ProjectionConfig& config) {
  const auto* const dino = std::get_if<DinoHeadConfig>(&config);
  return dino ? dino->out_dim : 0;
}

namespace {

std::variant<DinoHead, MlpHead> built(const ProjectionConfig& config, at::ScalarType dtype) {
  if (const auto* dino = std::get_if<DinoHeadConfig>(&config)) return DinoHead(*dino, dtype);
  const auto& mlp = std::get<MlpHeadConfig>(config);
  if (mlp.in_dim < 1 || mlp.hidden_dim < 1 || mlp.out_dim < 1 || mlp.layers < 1)
    fail_usage("projection head", "positive sizes",
               fmt::format("{} -> {} -> {} with {} layers", mlp.in_dim, mlp.hidden_dim, mlp.out_dim, mlp.layers),
               "Correct the head's sizes");
  return MlpHead(mlp, dtype);
}

}  // namespace

ProjectionHead::ProjectionHead(const ProjectionConfig& config, at::ScalarType dtype) : head_(built(config, dtype)) {}

const NamedTensors& ProjectionHead::parameters() const {
  return std::visit([](const auto& head) -> const NamedTensors& { return head.parameters(); }, head_);
}

const NamedTensors& ProjectionHead::buffers() const {
  return std::visit([](const auto& head) -> const NamedTensors& { return head.buffers(); }, head_);
}

bool ProjectionHead::statistics_by_group() const {
  return std::holds_alternative<MlpHead>(head_);
}

void ProjectionHead::initialize(uint64_t seed, int number) {
  const uint64_t first = init::kHead + static_cast<uint64_t>(number) * kHeadParameters;
  std::visit([&](auto& head) { head.initialize(seed, first); }, head_);
}

at::Tensor ProjectionHead::forward(const at::Tensor& x, bool training) const {
  if (const auto* dino = std::get_if<DinoHead>(&head_)) return dino->forward(x, training);
  return std::get<MlpHead>(head_).forward(x, training);
}

const DinoHead& ProjectionHead::with_prototypes() const {
  const auto* dino = std::get_if<DinoHead>(&head_);
  if (!dino) fail("projection head", "one with prototypes", "an MLP with batch norm", "This is a defect of the program");
  return *dino;
}
at::Tensor ProjectionHead::bottleneck(const at::Tensor& x, bool training) const {
  return with_prototypes().bottleneck(x, training);
}
at::Tensor ProjectionHead::logits(const at::Tensor& bottleneck) const {
  return with_prototypes().logits(bottleneck);
}
at::Tensor ProjectionHead::prototypes() const {
  return with_prototypes().prototypes();
}

std::vector<BatchNorm>& ProjectionHead::norms() {
  return std::visit([](auto& head) -> std::vector<BatchNorm>& { return head.norms(); }, head_);
}
void ProjectionHead::set_statistics_group(const std::shared_ptr<Communicator>& group) {
  for (BatchNorm& norm : norms()) norm.set_group(group);
}
void ProjectionHead::commit_statistics() {
  for (BatchNorm& norm : norms()) norm.commit_statistics();
}
void ProjectionHead::discard_statistics() {
  for (BatchNorm& norm : norms()) norm.discard_statistics();
}

}  // namespace dinoxx
