#include "projection_head.hpp"

#include <ATen/ATen.h>

#include "dinoxx/base/error.hpp"
#include "model/layers/init.hpp"
#include "ops/ops.hpp"

namespace dinoxx {
namespace {

constexpr uint64_t kHeadParameters = 4096;  // more than any head has

}  // namespace

MlpHead::MlpHead(const MlpHeadConfig& config, at::ScalarType dtype)
    : config_(config),
      weight1_(init::uninitialized({config.hidden_dim, config.in_dim}, dtype)),
      bias1_(init::uninitialized({config.hidden_dim}, dtype)),
      weight2_(init::uninitialized({config.out_dim, config.hidden_dim}, dtype)),
      bias2_(init::uninitialized({config.out_dim}, dtype)),
      norms_{BatchNorm(config.hidden_dim, dtype)} {
  parameters_ = {{"mlp.0.weight", weight1_}, {"mlp.0.bias", bias1_}};
  norms_.front().append_to("mlp.1.", parameters_, buffers_);
  parameters_.push_back({"mlp.3.weight", weight2_});
  if (!config.norm_output) {
    parameters_.push_back({"mlp.3.bias", bias2_});
    return;
  }
  bias2_.reset();
  norms_.emplace_back(config.out_dim, dtype).append_to("mlp.4.", parameters_, buffers_);
}

void MlpHead::initialize(uint64_t seed, uint64_t first) {
  init::fan_in_uniform(weight1_, config_.in_dim, seed, first);
  init::fan_in_uniform(bias1_, config_.in_dim, seed, first + 1);
  for (const auto& [name, tensor] : parameters_) {
    if (name == "mlp.1.weight" || name == "mlp.4.weight") init::constant(tensor, 1.0);
    if (name == "mlp.1.bias" || name == "mlp.4.bias") init::constant(tensor, 0.0);
  }
  init::fan_in_uniform(weight2_, config_.hidden_dim, seed, first + 2);
  if (bias2_.defined()) init::fan_in_uniform(bias2_, config_.hidden_dim, seed, first + 3);
}

at::Tensor MlpHead::forward(const at::Tensor& x, bool training) const {
  const at::Tensor hidden = norms_.front().forward_relu(ops::linear(x, weight1_, bias1_), training);
  const at::Tensor y = ops::linear(hidden, weight2_, bias2_);
  return config_.norm_output ? norms_.back().forward(y, training) : y;
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
  if (mlp.in_dim < 1 || mlp.hidden_dim < 1 || mlp.out_dim < 1)
    fail_usage("projection head", "positive sizes", fmt::format("{} -> {} -> {}", mlp.in_dim, mlp.hidden_dim, mlp.out_dim),
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
