#include "model_source.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/crc32c.hpp"
#include "base/mapped_file.hpp"
#include "data_pipeline/augment/view_profiles.hpp"
#include "data_pipeline/augment/views_config.hpp"
#include "dinoxx/base/error.hpp"
#include "history/checkpoint_folders.hpp"
#include "history/run_history.hpp"
#include "method/method.hpp"
#include "method/settings/resolve.hpp"
#include "model/model_config.hpp"
#include "model/weights/weights.hpp"
#include "train/training_config.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWeights = "teacher.safetensors";
using checkpoint::kManifest;
constexpr const char* kConfigKey = "dinoxx.config";  // metadata of the weight files that training writes
constexpr const char* kBackbone = "backbone.";

fs::path checkpoint_of_run(const fs::path& run, std::optional<int64_t> step) {
  const RunHistory history(run);
  const std::optional<fs::path> newest = history.newest_checkpoint();
  if (!newest) {
    fail_usage(run.string(), "a run folder with checkpoints, a checkpoint folder or a safetensors file", "none of them",
               "Train first, or point --checkpoint at what \"dinoxx train --out\" named.");
  }
  if (!step) return *newest;
  if (const auto folder = history.checkpoint_of(*step)) return *folder;
  std::vector<int64_t> steps;
  for (const SavedCheckpoint& saved : history.checkpoints())
    if (saved.step >= 0) steps.push_back(saved.step);
  fail_usage("--checkpoint-step", fmt::format("one of the checkpoints in {} ({})", run.string(), fmt::join(steps, ", ")),
             std::to_string(*step), "Name one of these, or none for the newest.");
}

fs::path weights_file(const ModelRequest& request) {
  const fs::path& path = request.checkpoint;
  if (!fs::exists(path))
    fail_usage("--checkpoint", "a run folder or a safetensors file", fmt::format("no {}", path.string()), "Check the path.");
  if (fs::is_directory(path) && !fs::exists(path / kManifest) && !weights_in_folder(path))
    return checkpoint_of_run(path, request.step) / kWeights;
  if (request.step)
    fail_usage("--checkpoint-step", "a run folder with --checkpoint", path.string(), "Leave it out, or name the run folder.");
  if (fs::is_directory(path) && weights_in_folder(path)) return path;
  if (fs::is_directory(path) && !fs::exists(path / kWeights)) {
    fail_usage("--checkpoint", "a run folder, a checkpoint folder or a safetensors file",
               fmt::format("{} without {}", path.string(), kWeights), "Check the path.");
  }
  return fs::is_directory(path) ? path / kWeights : path;
}

// A weight file inside a checkpoint: the manifest beside it knows the step and the checksum.
void compare_with_manifest(LoadedModel& model) {
  const fs::path folder = model.file.parent_path();
  if (!is_checkpoint(folder)) return;
  const nlohmann::json manifest = read_manifest(folder);
  model.step = manifest.at("step").get<int64_t>();
  for (const nlohmann::json& file : manifest.at("files")) {
    const std::string found = fmt::format("{:08x}", model.crc32c);
    if (file.at("name") != model.file.filename().string() || file.at("crc32c") == found) continue;
    fail(model.file.string(), fmt::format("the checksum {} of its manifest", file.at("crc32c").get<std::string>()), found,
         "The file is damaged or was replaced; use another checkpoint.");
  }
}

/// A file that training wrote: its configuration says all.
void load_own(const std::string& config_text, const ModelRequest& request, LoadedModel& model) {
  Config config = default_config();
  apply_settings(config, parse_settings(config_text, model.file.string()));
  model.seed = static_cast<uint64_t>(config.train->seed);
  if (request.model_settings.empty()) model.config_text = config_text;
  apply_settings(config, request.model_settings);
  config = settled(config);
  model.image_size = static_cast<int>(config.views->global_size);
  const SafetensorsFile file(model.file);
  uint64_t numbers = 0;
  for (const auto& [name, view] : file.tensors()) numbers += view.bytes.size() / dtype_size(view.dtype);
  require_numbers(backbone_config(config), numbers, model.file.string());
  model.network = make_backbone(backbone_config(config), request.dtype);
  const bool with_head =
      std::any_of(file.tensors().begin(), file.tensors().end(), [](const auto& t) { return t.first.starts_with(kBackbone); });
  LoadOptions options;
  options.prefix = with_head ? kBackbone : "";
  load_named(file, model.file.string(), stored_state(*model.network), options);
}

/// The input that a network was published with: the size of its positions, but for those that were last trained larger than they are used.
int published_size(const VitConfig& vit, std::vector<std::string>& notes) {
  constexpr int kPositions = 518, kPatch = 14, kUsed = 224;  // DINOv2's: positions for 518 pixels, all of its tables from 224
  if (vit.image_size != kPositions || vit.patch_size != kPatch) return static_cast<int>(vit.image_size);
  notes.push_back(
      fmt::format("input of {0} pixels, as DINOv2 was published with; its positions are for {1} (--image-size {1})", kUsed, kPositions));
  return kUsed;
}

/// A backbone from elsewhere.
void load_foreign(const ModelRequest& request, LoadedModel& model) {
  RecognizeOptions which = request.which;
  for (const Setting& setting : request.model_settings) {
    if (setting.key != "model.heads")
      fail_usage(setting.where, "model.heads alone for weights that dinoxx did not write", setting.key, "Their shapes say the rest.");
    Config config = default_config();
    apply_settings(config, {setting});
    if (config.model->heads) which.heads = static_cast<int>(*config.model->heads);
  }
  ImportedBackbone imported = import_backbone(model.file, request.dtype, which);
  model.network = std::move(imported.backbone);
  model.notes = imported.recognized.notes;
  if (const auto* vit = std::get_if<VitConfig>(&imported.recognized.config)) model.image_size = published_size(*vit, model.notes);
}

uint32_t checksum(const WeightFile& file) {
  uint32_t crc = 0;
  for (const std::string& shard : file.shards()) {
    const MappedFile mapped{FileDescriptor(file.path().parent_path() / shard)};
    crc = crc32c(mapped.bytes().data(), mapped.bytes().size(), crc);
  }
  return crc;
}

/// A metadata entry of a file that dinoxx wrote; nullptr: it has none.
const std::string* own_text(const WeightFile& file, const char* key) {
  const nlohmann::json& settings = file.settings();
  if (!settings.is_object()) return nullptr;
  const auto found = settings.find(key);
  return found != settings.end() && found->is_string() ? found->get_ptr<const std::string*>() : nullptr;
}

}  // namespace

InputNormalization input_normalization(const WeightFile& file) {
  const std::string where = file.path().string();
  if (const std::string* text = own_text(file, kNormalizationKey)) return {parse_normalization(*text, where), "the file's metadata"};
  if (const std::string* text = own_text(file, kConfigKey)) {
    Config config = default_config();
    apply_settings(config, parse_settings(*text, where));
    const std::string profile = settled(config).views->profile;
    return {profile_normalization(profile), "views.profile = " + profile + " of the file's configuration"};
  }
  // a preprocessor_config.json beside the file would know: not read yet
  return {imagenet_normalization(), "ImageNet's, assumed: the file does not say", true};
}

nlohmann::json describe(const InputNormalization& normalization) {
  return {{"mean", decimals(normalization.values.mean)}, {"std", decimals(normalization.values.std)}, {"source", normalization.source}};
}

LoadedModel load_model(const ModelRequest& request) {
  LoadedModel model;
  model.file = weights_file(request);
  const WeightFile file = WeightFile::open(model.file);
  model.crc32c = checksum(file);
  compare_with_manifest(model);
  model.normalization = input_normalization(file);
  if (const std::string* config = own_text(file, kConfigKey))
    load_own(*config, request, model);
  else
    load_foreign(request, model);
  if (model.normalization->assumed)
    model.notes.push_back(fmt::format("the input is normalised by ImageNet's {}: assumed, the file does not say",
                                      dinoxx::describe(model.normalization->values)));
  return model;
}

}  // namespace dinoxx::eval
