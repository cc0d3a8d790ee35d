// What fine-tuning leaves behind for use: the tensors that learned and the head, or the whole network.
#include <ATen/ATen.h>

#include "base/json_text.hpp"
#include "finetune_parts.hpp"
#include "formats/safetensors.hpp"
#include "model/weights/backbone_json.hpp"
#include "model/weights/weights.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

ProtocolFile file_of(const std::string& name, NamedTensors tensors, std::map<std::string, std::string> metadata) {
  for (NamedTensor& tensor : tensors)
    tensor.tensor = tensor.tensor.detach().cpu().contiguous().clone();  // the network lives on, and changes
  return {name, [tensors = std::move(tensors), metadata = std::move(metadata)](const std::filesystem::path& path) {
            write_safetensors(path, tensor_views(tensors), metadata);
          }};
}

}  // namespace

std::vector<ProtocolFile> tuned_files(const Dataset& dataset, const FinetuneOptions& options, const TuningMethod& method,
                                      const TuneData& data, const ExtractOptions& images, const TunedNetwork& network,
                                      const Tuning& tuning) {
  if (options.save == "none") return {};
  json classes = json::array();
  for (const int32_t c : data.present) classes.push_back(class_name(dataset, c));
  json about = {{"method", method.name},
                {"checkpoint", options.checkpoint},
                {"classes", classes},
                {"head", "logits = f / |f| * head.weight^T + head.bias, f the feature"},
                {"transform", describe(images.transform)},
                {"lr", tuning.lr},
                {"epoch", tuning.best_epoch},
                {"temperature", tuning.temperature.value ? json(*tuning.temperature.value) : json(nullptr)}};
  if (std::string(method.name) == "lora")
    about["lora"] = {{"rank", options.rank}, {"alpha", options.alpha}, {"weight", "W + alpha / rank * lora_b lora_a"}};
  const TunedHead head = network.folded_head();
  const NamedTensors of_head{
      {"head.weight", head.weight}, {"head.bias", head.bias}, {"head.classes", at::tensor(data.present, at::kInt).to(at::kLong)}};
  NamedTensors changed;
  for (const NamedTensor& tensor : network.trainable())
    if (!tensor.name.starts_with("head.")) changed.push_back(tensor);
  changed.insert(changed.end(), of_head.begin(), of_head.end());
  const std::string name = fmt::format("finetune_{}", method.name);
  std::vector<ProtocolFile> files;
  files.push_back(file_of(name + ".safetensors", std::move(changed),
                          {{"format", "pt"}, {"dinoxx.finetune", json_text(about)}, {kNormalizationKey, to_text(images.normalization)}}));
  if (options.save != "merged") return files;

  NamedTensors merged;
  for (const auto& [parameter, tensor] : stored_state(network.backbone())) merged.push_back({"backbone." + parameter, tensor});
  merged.insert(merged.end(), of_head.begin(), of_head.end());
  about["merged"] = true;
  std::map<std::string, std::string> metadata = {{"format", "pt"},
                                                 {"dinoxx.finetune", json_text(about)},
                                                 {"dinoxx.backbone", json_text(to_json(network.backbone().config()))},
                                                 {kNormalizationKey, to_text(images.normalization)}};
  if (!options.config_text.empty()) metadata["dinoxx.config"] = options.config_text;
  files.push_back(file_of(name + "_merged.safetensors", std::move(merged), std::move(metadata)));
  return files;
}

}  // namespace dinoxx::eval
