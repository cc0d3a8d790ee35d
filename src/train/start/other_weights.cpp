#include "other_weights.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "config/train_keys.hpp"
#include "dinoxx/base/error.hpp"
#include "history/checkpoint_folders.hpp"
#include "history/run_history.hpp"
#include "method/settings/own_config.hpp"
#include "model/layers/pos_embed.hpp"
#include "model/weights/facts.hpp"
#include "model/weights/import.hpp"
#include "model/weights/weights.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBackbone = "backbone.";

// Of the values of a whole parameter, what this rank owns.
void copy_segment(const FlatState& flat, const Segment& segment, const at::Tensor& values) {
  flat.master.narrow(0, segment.offset, segment.numel).copy_(values.flatten().narrow(0, segment.first, segment.numel));
}

std::vector<std::string> load_backbone(const fs::path& path, const Config& config, const ParamLayout& layout,
                                       const std::vector<FlatState*>& flats, const std::vector<const NamedTensors*>& buffers) {
  const WeightFile file = WeightFile::open(path);
  FactOptions which;
  which.user = stated_facts(backbone_config(config));  // not of its input, which is that of the run's views
  which.sources = said_by_training(file);
  const DescribedNetwork found = describe_network(file, which);
  const Recognized& recognized = found.network;
  // in float32, whatever the networks compute in: the masters keep every bit of the file
  BackboneConfig wanted_config = backbone_config(config);
  const auto* there = std::get_if<VitConfig>(&recognized.config);
  auto* here = std::get_if<VitConfig>(&wanted_config);
  const bool resized =
      there && here && here->positions == "learned" && there->image_size != here->image_size && there->patch_size == here->patch_size;
  const int image_size = here ? here->image_size : 0;
  if (resized) here->image_size = there->image_size;
  const auto backbone = make_backbone(wanted_config, at::kFloat);
  backbone->initialize(static_cast<uint64_t>(train_seed(config)));
  NamedTensors wanted = stored_state(*backbone);
  std::vector<std::string> lines;
  const auto* vit = std::get_if<VitConfig>(&recognized.config);
  if (vit && !vit->mask_token && std::erase_if(wanted, [](const NamedTensor& t) { return t.name == "mask_token"; }) > 0)
    lines.emplace_back("  the mask token is not in the file and begins at 0");
  if (vit && !vit->untied_local_cls_norm &&
      std::erase_if(wanted, [](const NamedTensor& t) { return t.name.starts_with("local_cls_norm"); }) > 0)
    lines.emplace_back("  the norm of local crops' CLS token is not in the file and begins at 1");
  const ImportReport report = import_weights(recognized, path, wanted);
  at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : backbone->parameters()) {
    at::Tensor values = tensor;
    if (resized && name == "pos_embed") {
      const int64_t side = image_size / here->patch_size;
      values = resize_pos_embed(tensor, side, side, here->position_offset, here->position_antialias);
      lines.push_back(fmt::format("  positions resized from {0} x {0} to {1} x {1}", here->image_size / here->patch_size, side));
    }
    for (const Segment& segment : layout.segments)
      if (segment.name == kBackbone + name)
        for (FlatState* flat : flats) copy_segment(*flat, segment, values);
  }
  for (const auto& [name, tensor] : backbone->buffers())
    for (const NamedTensors* list : buffers)
      for (const NamedTensor& buffer : *list)
        if (buffer.name == kBackbone + name) buffer.tensor.copy_(tensor);
  lines.insert(lines.begin(),
               "backbone from " + path.string() + ": " + std::to_string(report.loaded) + " tensors, " + describe(recognized.config));
  std::vector<std::string> facts;
  for (const Fact& fact : found.facts)
    if (!fact.of_input) facts.push_back(fact.name + " " + fact.value);  // where each is from follow_weights has said
  lines.push_back(fmt::format("  {}", fmt::join(facts, ", ")));
  for (const auto* list : {&recognized.notes, &report.adapted, &report.ignored})
    for (const std::string& note : *list) lines.push_back("  " + note);
  return lines;
}

// The heads of a teacher that dinoxx saved, when all of them are there with the student's shapes.
std::string load_heads(const fs::path& path, const ParamLayout& layout, const std::vector<FlatState*>& flats) {
  if (path != teacher_file(path.parent_path())) return "  heads begin anew: the file is no teacher of a run";
  const WeightFile file = WeightFile::open(path);
  std::vector<const Segment*> heads;
  for (const Segment& segment : layout.segments) {
    if (segment.name.starts_with(kBackbone)) continue;
    const WeightEntry* found = file.find(segment.name);
    if (!found || found->shape != segment.shape)
      return "  heads begin anew: " + segment.name + (found ? " has another shape there" : " is not in the file");
    heads.push_back(&segment);
  }
  at::NoGradGuard no_grad;
  for (const Segment* segment : heads)
    for (FlatState* flat : flats) copy_segment(*flat, *segment, read_entry(file.at(segment->name)));
  return "  heads from the same file";
}

}  // namespace

fs::path weight_path(const char* key, const fs::path& path) {
  if (!fs::exists(path))
    fail_usage(key, "a run folder, a checkpoint or a weight file", fmt::format("no {}", path.string()), "Check the path");
  const fs::path folder = RunHistory(path).newest_checkpoint().value_or(path);
  return fs::exists(teacher_file(folder)) ? teacher_file(folder) : folder;
}

std::vector<std::string> init_from(const fs::path& given, const Config& config, TrainState& state) {
  const fs::path path = weight_path("model.init_from", given);
  std::vector<FlatState*> flats{&state.student_flat, &state.teacher_flat};
  if (state.gram) flats.push_back(&state.gram->flat);
  std::vector<std::string> lines = load_backbone(path, config, state.owned(), flats, {&state.student_buffers, &state.teacher_buffers});
  const std::string heads = load_heads(path, state.owned(), flats);
  if (!heads.empty()) lines.push_back(heads);
  return lines;
}

std::vector<std::string> load_gram_teacher(const fs::path& given, const Config& config, TrainState& state) {
  std::vector<std::string> lines = load_backbone(weight_path("gram.teacher", given), config, state.owned(), {&state.gram->flat}, {});
  lines.front() = "Gram teacher: " + lines.front();
  return lines;
}

}  // namespace dinoxx
