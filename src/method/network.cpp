#include "dinoxx/method/network.hpp"

#include <ATen/ATen.h>

#include "dinoxx/core/error.hpp"

namespace dinoxx {

Network::Network(const VitConfig& backbone_config, const DinoHeadConfig& head_config, at::ScalarType dtype)
    : backbone(backbone_config, dtype), head(head_config, dtype) {
  if (head_config.in_dim != backbone.feature_dim())
    fail("projection head", fmt::format("an input width of {} (the backbone's feature)", backbone.feature_dim()),
         std::to_string(head_config.in_dim), "Set the head's in_dim to the backbone's dim");
}

NamedTensors Network::parameters() const {
  NamedTensors all;
  for (const auto& [name, tensor] : backbone.parameters()) all.push_back({"backbone." + name, tensor});
  for (const auto& [name, tensor] : head.parameters()) all.push_back({"head." + name, tensor});
  return all;
}

void Network::initialize(uint64_t seed) {
  backbone.initialize(seed);
  head.initialize(seed);
}

at::Tensor Network::forward(std::span<const at::Tensor> crops_by_size, std::span<const RowOrigin> origins, int64_t batch) const {
  if (crops_by_size.empty() || batch < 1) fail("network input", "at least one group of crops and one image", "none", "Check the view plan");
  if (!origins.empty() && origins.size() != crops_by_size.size())
    fail("network input", fmt::format("one row origin for each of {} groups", crops_by_size.size()), std::to_string(origins.size()),
         "Pass as many origins as groups, or none for evaluation");
  std::vector<at::Tensor> features;
  features.reserve(crops_by_size.size());
  for (size_t i = 0; i < crops_by_size.size(); ++i) {
    const at::Tensor& crops = crops_by_size[i];
    if (crops.size(0) == 0 || crops.size(0) % batch != 0)
      fail(fmt::format("crops of group {}", i), fmt::format("a multiple of the batch size {}", batch),
           fmt::format("{} rows", crops.size(0)), "Rows are [view][slot]");
    features.push_back(backbone.forward(crops, origins.empty() ? nullptr : &origins[i]));
  }
  const at::Tensor logits = head.forward(features.size() == 1 ? features.front() : at::cat(features));
  return logits.view({-1, batch, logits.size(1)});
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
