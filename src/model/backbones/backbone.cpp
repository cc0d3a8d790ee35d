#include "backbone.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "attention.hpp"
#include "dinoxx/base/error.hpp"
#include "last_blocks.hpp"
#include "last_stages.hpp"

namespace dinoxx {
namespace {

constexpr int kConvStages = 4;

template <class Network, class Config>
class Adapter : public Backbone {
  static constexpr bool kStatistics = std::is_same_v<Network, ResNet>;

 public:
  Adapter(const Config& config, at::ScalarType dtype) : network_(config, dtype) {}
  BackboneConfig config() const override { return network_.config(); }
  int feature_dim() const override { return network_.feature_dim(); }
  const NamedTensors& parameters() const override { return network_.parameters(); }
  const NamedTensors& buffers() const override {
    static const NamedTensors none;
    if constexpr (kStatistics)
      return network_.buffers();
    else
      return none;
  }
  void initialize(uint64_t seed) override { network_.initialize(seed); }
  at::Tensor forward(const at::Tensor& images, const RowOrigin* origin) const override { return network_.forward(images, origin); }
  Features forward_features(const Crops& crops) const override {
    if constexpr (std::is_same_v<Network, VisionTransformer>) {
      return network_.forward_features(crops);
    } else {
      if (crops.masked.defined())
        fail_usage("masked patches", "a backbone with a mask token", describe(config()), "Choose a vision transformer");
      const ConvFeatures f = network_.forward_features(crops.images, crops.origin);
      return {f.cls, f.patches, f.registers};
    }
  }
  bool packs(size_t groups) const override {
    if constexpr (std::is_same_v<Network, VisionTransformer>)
      return network_.packs(groups);
    else
      return false;
  }
  std::vector<Features> forward_crops(std::span<const Crops> groups, bool patches) const override {
    if constexpr (std::is_same_v<Network, VisionTransformer>) {
      return network_.forward_crops(groups, patches);
    } else {
      std::vector<Features> features;
      for (size_t i = 0; i < groups.size(); ++i)
        features.push_back(i == 0 && patches ? forward_features(groups[i]) : Features{forward(groups[i].images, groups[i].origin), {}, {}});
      return features;
    }
  }
  bool hold_blocks_by(HoldBlock hold) override {
    if constexpr (std::is_same_v<Network, VisionTransformer>) {
      network_.hold_blocks_by(std::move(hold));
      return true;
    } else {
      return false;
    }
  }
  void set_statistics_group(const std::shared_ptr<Communicator>& group) override {
    if constexpr (kStatistics) network_.set_statistics_group(group);
  }
  void commit_statistics() override {
    if constexpr (kStatistics) network_.commit_statistics();
  }
  void discard_statistics() override {
    if constexpr (kStatistics) network_.discard_statistics();
  }
  const Network& network() const { return network_; }

 private:
  Network network_;
};

}  // namespace

std::unique_ptr<Backbone> make_backbone(const BackboneConfig& config, at::ScalarType dtype) {
  if (const auto* vit = std::get_if<VitConfig>(&config)) return std::make_unique<Adapter<VisionTransformer, VitConfig>>(*vit, dtype);
  if (const auto* convnext = std::get_if<ConvNextConfig>(&config))
    return std::make_unique<Adapter<ConvNext, ConvNextConfig>>(*convnext, dtype);
  return std::make_unique<Adapter<ResNet, ResNetConfig>>(std::get<ResNetConfig>(config), dtype);
}

at::Tensor cls_attention(const Backbone& network, const at::Tensor& images) {
  const auto* vit = dynamic_cast<const Adapter<VisionTransformer, VitConfig>*>(&network);
  if (!vit) return {};
  constexpr int64_t kNumbers = int64_t{1} << 24;  // of the attention that is held at once
  const VitConfig& config = vit->network().config();
  const int64_t tokens = images.size(2) * images.size(3) / (config.patch_size * config.patch_size) + 1;  // about as many
  const int64_t part = std::max<int64_t>(1, kNumbers / (config.heads * tokens * tokens));
  std::vector<at::Tensor> parts;
  for (int64_t first = 0; first < images.size(0); first += part) {
    const at::Tensor some = images.narrow(0, first, std::min(part, images.size(0) - first));
    parts.push_back(vit->network().last_attention(some).select(2, 0).to(at::kCPU, at::kFloat));
  }
  return at::cat(parts);
}

int offered_blocks(const Backbone& network) {
  const auto* vit = dynamic_cast<const Adapter<VisionTransformer, VitConfig>*>(&network);
  return vit ? vit->network().config().depth : 1;
}

std::vector<Features> last_blocks(const Backbone& network, const at::Tensor& images, int n) {
  if (const auto* vit = dynamic_cast<const Adapter<VisionTransformer, VitConfig>*>(&network)) return vit->network().last_blocks(images, n);
  if (n != 1) fail_usage("last blocks", "1, the last map of a convolutional network", std::to_string(n), "Ask for one");
  return {network.forward_features({images, nullptr, {}, false})};
}

at::Tensor last_blocks_row(const Backbone& network, const at::Tensor& images, int n) {
  const auto to_network = network.parameters().front().tensor.options().requires_grad(false);
  const std::vector<Features> blocks = last_blocks(network, images.to(to_network), n);
  std::vector<at::Tensor> columns;
  columns.reserve(blocks.size() + 1);
  for (const Features& block : blocks) columns.push_back(block.cls.to(at::kCPU, at::kFloat));
  columns.push_back(blocks.back().patches.to(at::kCPU, at::kFloat).mean(1));
  return at::cat(columns, 1);
}

int offered_stages(const Backbone& network) {
  return std::holds_alternative<VitConfig>(network.config()) ? offered_blocks(network) : kConvStages;
}

std::vector<StageMap> last_stages(const Backbone& network, const at::Tensor& images, int n) {
  const int offered = offered_stages(network);
  if (n < 1 || n > offered)
    fail_usage("last stages", fmt::format("1 to {}", offered), std::to_string(n), "Ask for as many as the network has");
  std::vector<StageMap> stages;
  const auto as_map = [](const at::Tensor& patches, const PatchGrid& grid) {
    return patches.transpose(1, 2).unflatten(2, {grid.rows, grid.columns});
  };
  if (const auto* vit = dynamic_cast<const Adapter<VisionTransformer, VitConfig>*>(&network)) {
    for (const Features& block : vit->network().last_blocks(images, n))
      stages.push_back({block.cls, as_map(block.patches, patch_grid(images.size(2), images.size(3), block.patches.size(1)))});
    return stages;
  }
  const auto* convnext = dynamic_cast<const Adapter<ConvNext, ConvNextConfig>*>(&network);
  const ConvFeatures features = convnext ? convnext->network().forward_features(images)
                                         : dynamic_cast<const Adapter<ResNet, ResNetConfig>&>(network).network().forward_features(images);
  for (size_t s = features.stages.size() - static_cast<size_t>(n); s < features.stages.size(); ++s)
    stages.push_back({{}, features.stages[s]});
  at::Tensor& last = stages.back().map;
  last = as_map(features.patches, {last.size(2), last.size(3)});
  return stages;
}

PatchGrid patch_grid(int64_t height, int64_t width, int64_t patches) {
  const double cell = std::sqrt(static_cast<double>(height * width) / static_cast<double>(std::max<int64_t>(patches, 1)));
  const PatchGrid grid{std::llround(static_cast<double>(height) / cell), std::llround(static_cast<double>(width) / cell)};
  if (grid.rows * grid.columns != patches) {
    fail("patches", fmt::format("a grid of square cells over {} x {} pixels", height, width), fmt::format("{} patches", patches),
         "Choose sides that the patch size (of a convolutional network: its stride, mostly 32) divides.");
  }
  return grid;
}

NamedTensors stored_state(const Backbone& backbone) {
  NamedTensors all = backbone.parameters();
  all.insert(all.end(), backbone.buffers().begin(), backbone.buffers().end());
  return all;
}

void move_to(const Backbone& backbone, at::Device device) {
  for (const NamedTensor& t : stored_state(backbone))
    if (t.tensor.device() != device) t.tensor.set_data(t.tensor.to(device));
}

int feature_dim(const BackboneConfig& config) {
  if (const auto* vit = std::get_if<VitConfig>(&config)) return vit->dim;
  if (const auto* convnext = std::get_if<ConvNextConfig>(&config)) return convnext->dims[3];
  return std::get<ResNetConfig>(config).feature_dim();
}

bool has_mask_token(const BackboneConfig& config) {
  const auto* vit = std::get_if<VitConfig>(&config);
  return vit && vit->mask_token;
}

int channels_of(const BackboneConfig& config) {
  return std::visit([](const auto& c) { return c.channels; }, config);
}

int side_multiple(const BackboneConfig& config) {
  const auto* vit = std::get_if<VitConfig>(&config);
  return vit && vit->fit == "error" ? vit->patch_size : 1;
}

BackboneConfig with_channels(BackboneConfig config, int channels) {
  std::visit([&](auto& c) { c.channels = channels; }, config);
  return config;
}

}  // namespace dinoxx
