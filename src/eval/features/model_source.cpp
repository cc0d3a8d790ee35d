#include "model_source.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "config/train_keys.hpp"
#include "data_pipeline/augment/views_config.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/run/eval_config.hpp"
#include "features.hpp"
#include "formats/weight_content.hpp"
#include "history/checkpoint_folders.hpp"
#include "history/run_history.hpp"
#include "method/guides/guide_config.hpp"
#include "method/method.hpp"
#include "method/settings/own_config.hpp"
#include "method/settings/resolve.hpp"
#include "model/weights/facts.hpp"
#include "model/weights/weights.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;

using checkpoint::kManifest;
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
    return teacher_file(checkpoint_of_run(path, request.step));
  if (request.step)
    fail_usage("--checkpoint-step", "a run folder with --checkpoint", path.string(), "Leave it out, or name the run folder.");
  if (fs::is_directory(path) && weights_in_folder(path)) return path;
  if (fs::is_directory(path) && !fs::exists(teacher_file(path))) {
    fail_usage("--checkpoint", "a run folder, a checkpoint folder or a safetensors file",
               fmt::format("{} without {}", path.string(), checkpoint::kTeacher), "Check the path.");
  }
  return fs::is_directory(path) ? teacher_file(path) : path;
}

// A weight file inside a checkpoint, whole or in parts: the manifest beside it knows the step and the checksums.
void compare_with_manifest(const WeightFile& weights, LoadedModel& model) {
  const fs::path folder = model.file.parent_path();
  if (!is_checkpoint(folder)) return;
  const nlohmann::json manifest = read_manifest(folder);
  model.step = manifest.at("step").get<int64_t>();
  const std::vector<std::string>& parts = weights.shards();
  for (const nlohmann::json& file : manifest.at("files")) {
    const std::string name = file.at("name");
    if (std::ranges::find(parts, name) == parts.end()) continue;
    const uint32_t crc = parts.size() == 1 ? model.crc32c : content_of(WeightFile::open(folder / name, FileAccess::kHeader)).crc32c;
    const std::string found = fmt::format("{:08x}", crc);
    if (file.at("crc32c") == found) continue;
    fail((folder / name).string(), fmt::format("the checksum {} of its manifest", file.at("crc32c").get<std::string>()), found,
         "The file is damaged or was replaced; use another checkpoint.");
  }
}

/// What labels the training has used, for whoever looks at the scores.
void note_guides(const Config& config, std::vector<std::string>& notes) {
  if (const std::string& learned = config.guide->learn; !learned.empty())
    notes.push_back(fmt::format(
        "the training has learned from labels, those of {} (guide.learn): only images that it did not see test these", learned));
  if (const std::string& forgotten = config.guide->forget; !forgotten.empty())
    notes.push_back(fmt::format("the training has worked against {} (guide.forget)", forgotten));
}

/// A file that training wrote: its configuration says all.
void load_own(const WeightFile& file, const Config& trained, const std::string& config_text, const ModelRequest& request,
              LoadedModel& model) {
  Config config = trained;
  model.seed = static_cast<uint64_t>(train_seed(config));
  if (request.model_settings.empty()) model.config_text = config_text;
  apply_settings(config, request.model_settings);
  config = settled(config);
  model.image_size = static_cast<int>(*config.eval->image_size);
  uint64_t numbers = 0;
  for (const WeightEntry& entry : file.entries()) numbers += entry.element_count();
  require_numbers(backbone_config(config), numbers, model.file.string());
  model.network = make_backbone(backbone_config(config), request.dtype);
  const bool with_head = std::ranges::any_of(file.entries(), [](const WeightEntry& entry) { return entry.name.starts_with(kBackbone); });
  LoadOptions options;
  options.prefix = with_head ? kBackbone : "";
  load_named(file, model.file.string(), stored_state(*model.network), options);
}

/// A backbone from elsewhere.
void load_foreign(const FactOptions& which, const ModelRequest& request, LoadedModel& model) {
  for (const Setting& setting : request.model_settings)
    if (std::find(fact_keys().begin(), fact_keys().end(), setting.key) == fact_keys().end())
      fail_usage(setting.where, fmt::format("one of {} for weights that dinoxx did not write", fmt::join(fact_keys(), ", ")), setting.key,
                 "Their shapes say the rest.");
  ImportedBackbone imported = import_with_facts(model.file, request.dtype, which);
  model.network = std::move(imported.backbone);
  model.normalization = imported.input->normalization;
  model.image_size = imported.input->image_size;
  model.facts = imported.facts;
  model.notes = imported.recognized.notes;
  const InputFacts& input = *imported.input;
  if (input.fit == "whole" && !request.fit) model.notes.push_back("the file says that images are shown whole (--fit whole)");
  if (const double usual = 224.0 / 256; input.fit == "crop" && !request.fit && !request.crop && std::abs(input.crop - usual) > 2e-3)
    model.notes.push_back(
        fmt::format("the file says that {:.4g} of the resized image is shown (--crop {:.4g}); here {} of it, as in the protocols",
                    input.crop, input.crop, usual));
}

/// A metadata entry of a file that dinoxx wrote; nullptr: it has none.
const std::string* own_text(const WeightFile& file, const char* key) {
  const nlohmann::json& settings = file.settings();
  if (!settings.is_object()) return nullptr;
  const auto found = settings.find(key);
  return found != settings.end() && found->is_string() ? found->get_ptr<const std::string*>() : nullptr;
}

}  // namespace

nlohmann::json describe(const InputNormalization& normalization) {
  return {{"mean", decimals(normalization.values.mean)}, {"std", decimals(normalization.values.std)}, {"source", normalization.source}};
}

EvalTransform transform_of(const NetworkRun& run, const Dataset& dataset, std::span<const uint64_t> ids, int image_size) {
  const EvalTransform usual = choose_transform(dataset, ids, image_size, run.whole);
  const bool as_stored = usual.resize == 0;
  if (run.whole || !run.crop || (as_stored && *run.crop == 1)) return usual;
  return {static_cast<int>(std::lround(image_size / *run.crop)), image_size};
}

namespace {

LoadedModel load_on_cpu(const ModelRequest& request) {
  LoadedModel model;
  model.file = weights_file(request);
  const WeightFile file = WeightFile::open(model.file);
  model.crc32c = content_of(file).crc32c;
  compare_with_manifest(file, model);
  FactOptions which{request.which.key, facts_from_keys(request.model_settings), {}, said_by_training(file)};
  if (request.which.heads) which.user.heads = request.which.heads;
  which.user.fit = request.fit;
  which.user.crop = request.crop;
  const std::optional<Config> config = own_config(file);
  if (!config) {
    load_foreign(which, request, model);
    return model;
  }
  load_own(file, *config, *own_text(file, kConfigKey), request, model);
  const DescribedNetwork found = describe_network(file, which);
  model.normalization = found.input.normalization;
  model.facts = found.facts;
  model.notes = found.network.notes;
  note_guides(*config, model.notes);
  return model;
}

}  // namespace

LoadedModel load_model(const ModelRequest& request) {
  LoadedModel model = load_on_cpu(request);
  move_to(*model.network, request.device);
  return model;
}

}  // namespace dinoxx::eval
