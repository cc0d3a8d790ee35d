#include "readout.hpp"

#include <ATen/ATen.h>

#include "dinoxx/base/error.hpp"
#include "eval/classify/knn.hpp"
#include "model/backbones/last_stages.hpp"

namespace dinoxx::eval {
namespace {

constexpr const char *kStages = "--feature-stages", *kGrid = "--feature-grid", *kWhiten = "--feature-whiten";

at::Tensor row_of(const Backbone& network, const at::Tensor& images, const Readout& readout) {
  const auto to_network = network.parameters().front().tensor.options().requires_grad(false);
  std::vector<at::Tensor> parts;
  for (const StageMap& stage : last_stages(network, images.to(to_network), readout.stages)) {
    if (stage.cls.defined()) parts.push_back(normalize_rows(stage.cls.to(at::kCPU, at::kFloat)));
    const at::Tensor cells = at::adaptive_avg_pool2d(stage.map.to(at::kFloat).contiguous(), {readout.grid, readout.grid}).cpu();
    parts.push_back(normalize_rows(cells.flatten(2).transpose(1, 2).flatten(1)));
  }
  return at::cat(parts, 1);
}

}  // namespace

void check_readout(const Readout& readout) {
  if (readout.stages < 0)
    fail_usage(kStages, "0 (the feature of the network), or a number of stages", std::to_string(readout.stages), "Change it.");
  if (readout.grid < 1 || readout.grid > kLargestGrid)
    fail_usage(kGrid, fmt::format("1 to {}", kLargestGrid), std::to_string(readout.grid), "Change it.");
  if (readout.grid > 1 && readout.stages == 0)
    fail_usage(kGrid, fmt::format("{} with it: whose maps are averaged over cells", kStages), "none", fmt::format("Add {} 1.", kStages));
  if (readout.whiten && !(*readout.whiten > 0 && *readout.whiten <= 1))
    fail_usage(kWhiten, "a shrinkage above 0, at most 1", fmt::format("{}", *readout.whiten), "0.3 is a good start.");
}

std::string describe(const Readout& readout) {
  std::string text = readout.stages == 0   ? "CLS feature"
                     : readout.stages == 1 ? "last stage"
                                           : fmt::format("last {} stages", readout.stages);
  if (readout.stages > 0)
    text += readout.grid == 1 ? ", averaged over the image" : fmt::format(", averaged over {0} x {0} cells", readout.grid);
  if (readout.whiten) text += fmt::format(", whitened (shrinkage {})", *readout.whiten);
  return text;
}

nlohmann::json to_json(const Readout& readout) {
  if (readout.plain()) return nullptr;
  return {{"stages", readout.stages},
          {"grid", readout.grid},
          {"whiten", readout.whiten ? nlohmann::json(*readout.whiten) : nlohmann::json(nullptr)}};
}

Readout readout_from_json(const nlohmann::json& object) {
  Readout readout;
  if (object.is_null()) return readout;
  readout.stages = object.at("stages");
  readout.grid = object.at("grid");
  if (!object.at("whiten").is_null()) readout.whiten = object.at("whiten").get<double>();
  return readout;
}

Embedder read_stages(Embedder embedder, const Readout& readout, int side) {
  const auto check_width = [&] {
    if (readout.whiten && embedder.dim > kWidestWhitened)
      fail_usage(kWhiten, fmt::format("features of at most {} numbers", kWidestWhitened), std::to_string(embedder.dim),
                 fmt::format("Lower {} or {}.", kStages, kGrid));
  };
  if (readout.stages == 0 || !embedder.network) {
    check_width();
    return embedder;
  }
  const Backbone& network = *embedder.network;
  if (const int offered = offered_stages(network); readout.stages > offered)
    fail_usage(kStages, fmt::format("at most {}", offered), std::to_string(readout.stages), "Ask for as many as the network has.");
  at::NoGradGuard no_grad;
  const auto options = network.parameters().front().tensor.options().requires_grad(false);
  const at::Tensor image = at::zeros({1, channels_of(network.config()), side, side}, options);
  int64_t cells = 0;
  for (const StageMap& stage : last_stages(network, image, readout.stages)) {
    const int64_t fewest = std::min(stage.map.size(2), stage.map.size(3));
    if (cells == 0 || fewest < cells) cells = fewest;
  }
  if (readout.grid > cells)
    fail_usage(kGrid, fmt::format("at most {}: the smallest map of images of {} pixels has {} x {} positions", cells, side, cells, cells),
               std::to_string(readout.grid), "Lower it, or show larger images: --image-size.");
  embedder.dim = row_of(network, image, readout).size(1);
  check_width();
  embedder.embed = [&network, readout](const at::Tensor& images) { return row_of(network, images, readout); };
  embedder.reading = describe({readout.stages, readout.grid, std::nullopt});
  return embedder;
}

}  // namespace dinoxx::eval
