#include "dinoxx/eval/model_source.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "dinoxx/checkpoint/checkpoint.hpp"
#include "dinoxx/core/error.hpp"
#include "dinoxx/model/weights.hpp"
#include "dinoxx/step/build.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWeights = "teacher.safetensors";
constexpr const char* kManifest = "manifest.json";
constexpr const char* kConfigKey = "dinoxx.config";  // metadata of the weight files that training writes
constexpr const char* kBackbone = "backbone.";
constexpr int kPublishedHeadDim = 64;

std::string step_name(const fs::path& checkpoint) {
  const std::string name = checkpoint.filename().string();
  const size_t digits = name.find_first_not_of('0', 5);
  return digits == std::string::npos ? "0" : name.substr(digits);
}

fs::path checkpoint_of_run(const fs::path& run, std::optional<int64_t> step) {
  const std::vector<fs::path> all = list_checkpoints(run / "checkpoints");
  if (all.empty()) {
    fail_usage(run.string(), "a run folder with checkpoints, a checkpoint folder or a safetensors file", "none of them",
               "Train first, or point --checkpoint at what \"dinoxx train --out\" named.");
  }
  if (!step) return all.back();
  std::vector<std::string> steps;
  for (const fs::path& path : all) {
    steps.push_back(step_name(path));
    if (steps.back() == std::to_string(*step)) return path;
  }
  fail_usage("--checkpoint-step", fmt::format("one of the checkpoints in {} ({})", run.string(), fmt::join(steps, ", ")), std::to_string(*step),
             "Name one of these, or none for the newest.");
}

fs::path weights_file(const ModelRequest& request) {
  const fs::path& path = request.checkpoint;
  if (!fs::exists(path)) fail_usage("--checkpoint", "a run folder or a safetensors file", fmt::format("no {}", path.string()), "Check the path.");
  if (fs::is_directory(path) && !fs::exists(path / kManifest)) return checkpoint_of_run(path, request.step) / kWeights;
  if (request.step) fail_usage("--checkpoint-step", "a run folder with --checkpoint", path.string(), "Leave it out, or name the run folder.");
  if (fs::is_directory(path) && !fs::exists(path / kWeights)) {
    fail_usage("--checkpoint", "a run folder, a checkpoint folder or a safetensors file", fmt::format("{} without {}", path.string(), kWeights), "Check the path.");
  }
  return fs::is_directory(path) ? path / kWeights : path;
}

// A weight file inside a checkpoint: the manifest beside it knows the step and the checksum.
void compare_with_manifest(LoadedModel& model) {
  const fs::path folder = model.file.parent_path();
  if (!folder.filename().string().starts_with("step_") || !fs::exists(folder / kManifest)) return;
  const nlohmann::json manifest = read_manifest(folder);
  model.step = manifest.at("step").get<int64_t>();
  for (const nlohmann::json& file : manifest.at("files")) {
    const std::string found = fmt::format("{:08x}", model.crc32c);
    if (file.at("name") != model.file.filename().string() || file.at("crc32c") == found) continue;
    fail(model.file.string(), fmt::format("the checksum {} of its manifest", file.at("crc32c").get<std::string>()), found,
         "The file is damaged or was replaced; use another checkpoint.");
  }
}

std::string backbone_prefix(const SafetensorsFile& file) {
  const auto& tensors = file.tensors();
  return std::any_of(tensors.begin(), tensors.end(), [](const auto& t) { return t.first.starts_with(kBackbone); }) ? kBackbone : "";
}

void use_shapes(Config& config, const VitConfig& vit) {
  config.model.dim = vit.dim;
  config.model.depth = vit.depth;
  config.model.heads = vit.heads;
  config.model.patch_size = vit.patch_size;
  config.model.image_size = vit.image_size;
  config.model.mlp_ratio = vit.mlp_ratio;
  config.model.stem = vit.stem;
  config.views.global_size = vit.image_size;
}

bool sets(const std::vector<Setting>& settings, const char* key) {
  return std::any_of(settings.begin(), settings.end(), [&](const Setting& s) { return s.key == key; });
}

// A size that is named for the positions is the size to look at, unless the run was shown another one.
Config configuration(const SafetensorsFile& file, const std::string& prefix, const ModelRequest& request, LoadedModel& model) {
  Config config = default_config();
  const auto stored = file.metadata().find(kConfigKey);
  if (stored != file.metadata().end()) {
    apply_settings(config, parse_settings(stored->second, model.file.string()));
    model.seed = static_cast<uint64_t>(config.train.seed);
    apply_settings(config, request.model_settings);
    return config;
  }
  const VitConfig vit = infer_vit_config(file, prefix, model.file.string());
  use_shapes(config, vit);
  if (!sets(request.model_settings, "model.heads")) {
    model.notes.push_back(fmt::format("{} holds no dinoxx configuration: shape from its tensors, {} heads assumed (width / {}; --model.heads to say otherwise)",
                                      model.file.filename().string(), vit.heads, kPublishedHeadDim));
  }
  apply_settings(config, request.model_settings);
  config.views.global_size = *config.model.image_size;
  return config;
}

}  // namespace

VitConfig infer_vit_config(const SafetensorsFile& file, const std::string& prefix, const std::string& source) {
  const auto shape = [&](const std::string& name, size_t dims) -> const std::vector<int64_t>& {
    const auto entry = file.tensors().find(prefix + name);
    if (entry == file.tensors().end() || entry->second.shape.size() != dims) {
      fail(source, fmt::format("the weights of a vision transformer (\"{}\" with {} dimensions)", prefix + name, dims),
           entry == file.tensors().end() ? "no such tensor" : "another number of dimensions", "Give a run folder of dinoxx or a DINO backbone as safetensors.");
    }
    return entry->second.shape;
  };
  VitConfig vit;
  const std::vector<int64_t>& positions = shape("pos_embed", 3);
  vit.dim = static_cast<int>(positions[2]);
  const bool conv = std::any_of(file.tensors().begin(), file.tensors().end(), [&](const auto& t) { return t.first.starts_with(prefix + "patch_embed.stem."); });
  vit.stem = conv ? "conv" : "patch";
  const std::vector<int64_t>& projection = shape("patch_embed.proj.weight", 4);
  if (conv) {
    // every 3 x 3 layer of the stem halves the grid
    int layers = 0;
    while (file.tensors().contains(fmt::format("{}patch_embed.stem.{}.conv.weight", prefix, layers))) ++layers;
    vit.patch_size = 1 << std::min(layers, 8);
    vit.channels = static_cast<int>(shape("patch_embed.stem.0.conv.weight", 4)[1]);
  } else {
    vit.patch_size = static_cast<int>(projection[2]);
    vit.channels = static_cast<int>(projection[1]);
  }
  const auto side = static_cast<int>(std::lround(std::sqrt(static_cast<double>(std::max<int64_t>(positions[1] - 1, 0)))));
  vit.image_size = side * vit.patch_size;
  vit.mlp_ratio = static_cast<double>(shape("blocks.0.mlp.fc1.weight", 2)[0]) / static_cast<double>(std::max(1, vit.dim));
  vit.depth = 0;
  while (file.tensors().contains(fmt::format("{}blocks.{}.norm1.weight", prefix, vit.depth))) ++vit.depth;
  vit.heads = std::max(1, vit.dim / kPublishedHeadDim);
  return vit;
}

LoadedModel load_model(const ModelRequest& request) {
  LoadedModel model;
  model.file = weights_file(request);
  const SafetensorsFile file(model.file);
  model.crc32c = file.file_crc32c();
  compare_with_manifest(model);
  const std::string prefix = backbone_prefix(file);
  const Config config = configuration(file, prefix, request, model);
  model.image_size = static_cast<int>(config.views.global_size);
  model.network = std::make_unique<VisionTransformer>(backbone_config(config), request.dtype);
  LoadOptions options;
  options.prefix = prefix;
  if (prefix.empty()) options.ignore_prefixes = {"head."};
  load_named(file, model.file.string(), model.network->parameters(), options);
  return model;
}

}  // namespace dinoxx::eval
