#include "network.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "dinoxx/base/error.hpp"

namespace dinoxx {

Network::Network(const NetworkConfig& config, at::ScalarType dtype) : backbone_(make_backbone(config.backbone, dtype)) {
  const auto add = [&](const HeadPlan& plan, int64_t width, const std::string& what) {
    if (in_dim(plan.config) != width)
      fail(plan.name, fmt::format("an input width of {} ({})", width, what), std::to_string(in_dim(plan.config)),
           "Set the head's in_dim to it");
    heads_.push_back({plan.name, ProjectionHead(plan.config, dtype)});
    return static_cast<int>(heads_.size()) - 1;
  };
  add(config.head, backbone_->feature_dim(), "the backbone's feature");
  if (config.patch_head) patch_head_ = add(*config.patch_head, backbone_->feature_dim(), "the backbone's feature");
  if (config.predictor) predictor_ = add(*config.predictor, out_dim(config.head.config), "the output of " + config.head.name);
  for (const HeadPlan& guide : config.guides) guides_.push_back(add(guide, backbone_->feature_dim(), "the backbone's feature"));
}

Network::Network(const BackboneConfig& config, at::ScalarType dtype) : backbone_(make_backbone(config, dtype)) {}

namespace {

void append(NamedTensors& all, const std::string& prefix, const NamedTensors& part) {
  for (const auto& [name, tensor] : part) all.push_back({prefix + "." + name, tensor});
}

}  // namespace

NamedTensors Network::parameters() const {
  NamedTensors all;
  append(all, "backbone", backbone_->parameters());
  for (const NamedHead& h : heads_) append(all, h.name, h.head.parameters());
  return all;
}

NamedTensors Network::buffers() const {
  NamedTensors all;
  append(all, "backbone", backbone_->buffers());
  for (const NamedHead& h : heads_) append(all, h.name, h.head.buffers());
  return all;
}

void Network::initialize(uint64_t seed) {
  backbone_->initialize(seed);
  for (size_t i = 0; i < heads_.size(); ++i) heads_[i].head.initialize(seed, static_cast<int>(i));
}

void Network::copy_from(const Network& other) {
  const at::NoGradGuard no_grad;
  const auto copy = [](const NamedTensors& to, const NamedTensors& from) {
    for (size_t i = 0; i < to.size(); ++i) to.at(i).tensor.copy_(from.at(i).tensor);
  };
  copy(parameters(), other.parameters());
  copy(buffers(), other.buffers());
}

void Network::to(at::Device device) {
  for (const NamedTensors& list : {parameters(), buffers()})
    for (const NamedTensor& t : list) t.tensor.set_data(t.tensor.to(device));
}

ForwardOutput Network::forward(const ForwardInput& input) const {
  const auto& crops = input.crops_by_size;
  if (crops.empty() || input.batch < 1) fail("network input", "at least one group of crops and one image", "none", "Check the view plan");
  if (!input.origins.empty() && input.origins.size() != crops.size())
    fail("network input", fmt::format("one row origin for each of {} groups", crops.size()), std::to_string(input.origins.size()),
         "Pass as many origins as groups, or none for evaluation");
  ForwardOutput out;
  const bool training = !input.origins.empty();
  // a backbone with batch statistics has neither stochastic depth nor drawn positions
  const bool drawn = training && !(input.averaged && backbone_->buffers().empty());
  const auto through = [&](const ProjectionHead& head, const at::Tensor& rows) {
    return input.bottlenecks ? head.bottleneck(rows, training) : head.forward(rows, training);
  };
  const bool patches = input.patches || input.patch_mean || input.project_patches || input.masked_rows.defined();
  std::vector<Crops> groups;
  for (size_t i = 0; i < crops.size(); ++i) {
    if (crops[i].size(0) == 0 || crops[i].size(0) % input.batch != 0)
      fail(fmt::format("crops of group {}", i), fmt::format("a multiple of the batch size {}", input.batch),
           fmt::format("{} rows", crops[i].size(0)), "Rows are [view][slot]");
    // local crops are smaller than global ones, and so a group of their own behind theirs
    groups.push_back({crops[i], drawn ? &input.origins[i] : nullptr, i == 0 && patches ? input.masked : at::Tensor(), /*local=*/i > 0});
  }
  std::vector<at::Tensor> features;
  const size_t together = backbone_->packs(groups.size()) ? groups.size() : 1;
  for (size_t first = 0; first < groups.size(); first += together) {
    const bool with_patches = first == 0 && patches;
    std::vector<Features> found;
    {
      const at::AutoGradMode learns(at::GradMode::is_enabled() && !input.fixed_backbone);
      found = backbone_->forward_crops(std::span<const Crops>(groups).subspan(first, together), with_patches);
    }
    for (const Features& f : found) features.push_back(f.cls);
    if (!with_patches) continue;
    if (input.patches) out.patches = found.front().patches;
    const at::Tensor rows = found.front().patches.flatten(0, 1);
    if (input.project_patches)
      out.patch_logits = through(heads_[patch_head_].head, rows);
    else if (input.masked_rows.defined())
      out.patch_logits = through(heads_[patch_head_].head, rows.index_select(0, input.masked_rows));
    if (input.patch_mean) {
      const at::Tensor in_front = heads_[patch_head_].head.bottleneck(rows, training);
      out.patch_mean = in_front.mean(0, false, in_front.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
    }
  }
  const auto joined = [](const std::vector<at::Tensor>& parts) { return parts.size() == 1 ? parts.front() : at::cat(parts); };
  const at::Tensor rows = joined(features);
  out.features = rows.view({-1, input.batch, rows.size(1)});
  if (heads_.empty()) return out;
  std::vector<at::Tensor> outputs{rows};
  if (heads_.front().head.statistics_by_group()) outputs = features;
  for (at::Tensor& output : outputs) output = through(heads_.front().head, output);
  if (input.predict && predictor_ >= 0) {
    if (input.projections) {
      const at::Tensor projections = joined(outputs);
      out.projections = projections.view({-1, input.batch, projections.size(1)});
    }
    for (at::Tensor& output : outputs) output = heads_[predictor_].head.forward(output, training);
  }
  const at::Tensor logits = joined(outputs);
  out.logits = logits.view({-1, input.batch, logits.size(1)});
  return out;
}

at::Tensor Network::guide(size_t number, const at::Tensor& features) const {
  return heads_[static_cast<size_t>(guides_.at(number))].head.forward(features, /*training=*/true);
}

void Network::set_statistics_group(const std::shared_ptr<Communicator>& group) {
  backbone_->set_statistics_group(group);
  for (NamedHead& h : heads_) h.head.set_statistics_group(group);
}
void Network::commit_statistics() {
  backbone_->commit_statistics();
  for (NamedHead& h : heads_) h.head.commit_statistics();
}
void Network::discard_statistics() {
  backbone_->discard_statistics();
  for (NamedHead& h : heads_) h.head.discard_statistics();
}

std::vector<at::Tensor> first_views(std::span<const at::Tensor> crops_by_size, int64_t batch, int views) {
  std::vector<at::Tensor> first;
  int64_t rows = views * batch;
  for (size_t i = 0; i < crops_by_size.size() && rows > 0; ++i) {
    const int64_t take = std::min(rows, crops_by_size[i].size(0));
    first.push_back(crops_by_size[i].narrow(0, 0, take));
    rows -= take;
  }
  if (rows > 0)
    fail("crops", fmt::format("at least {} views of {} images", views, batch), fmt::format("{} rows too few", rows), "Check the view plan");
  return first;
}

}  // namespace dinoxx
