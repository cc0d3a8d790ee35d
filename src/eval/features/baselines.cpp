#include "baselines.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "model/weights/backbone_json.hpp"
#include "model/weights/facts.hpp"

namespace dinoxx::eval {

using nlohmann::json;

std::vector<std::string> ModelAndBaselines::names() const {
  std::vector<std::string> names;
  for (const Embedder& embedder : embedders) names.push_back(embedder.name);
  return names;
}

ModelAndBaselines load_model_and_baselines(const ModelRequest& request, const std::vector<std::string>& baselines) {
  ModelAndBaselines result;
  result.model = load_model(request);
  const LoadedModel& model = result.model;
  result.embedders.push_back(backbone_embedder("teacher", "the checkpoint's backbone", *model.network));
  for (const std::string& baseline : baselines) {
    if (baseline == "raw") {
      result.embedders.push_back(pixel_embedder(model.image_size, model.network.get()));
      result.embedders.back().description = "the pixels under each patch";
    } else {
      result.untrained = make_backbone(model.network->config(), request.dtype);
      result.untrained->initialize(model.seed);
      move_to(*result.untrained, request.device);
      const std::string what = fmt::format("same shape, initial weights of seed {}", model.seed);
      result.embedders.push_back(backbone_embedder("untrained", what, *result.untrained));
    }
  }
  return result;
}

json describe_checkpoint(const LoadedModel& model) {
  int64_t parameters = 0;
  for (const NamedTensor& parameter : model.network->parameters()) parameters += parameter.tensor.numel();
  return {{"file", model.file.string()},
          {"crc32c", fmt::format("{:08x}", model.crc32c)},
          {"step", model.step ? json(*model.step) : json(nullptr)},
          {"model", to_json(model.network->config())},
          {"parameters", parameters},
          {"input", describe(model.normalization.value())},
          {"facts", describe(model.facts)},
          {"notes", model.notes}};
}

}  // namespace dinoxx::eval
