#include "other_weights.hpp"

#include <ATen/ATen.h>

#include "dinoxx/checkpoint/checkpoint.hpp"
#include "dinoxx/core/error.hpp"
#include "dinoxx/model/import.hpp"
#include "dinoxx/model/weights.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBackbone = "backbone.";

fs::path weight_path(const char* key, const fs::path& path) {
  if (!fs::exists(path))
    fail_usage(key, "a run folder, a checkpoint or a weight file", fmt::format("no {}", path.string()), "Check the path");
  const auto newest = fs::is_directory(path / "checkpoints") ? latest_checkpoint(path) : std::nullopt;
  const fs::path folder = newest.value_or(path);
  return fs::exists(folder / "teacher.safetensors") ? folder / "teacher.safetensors" : folder;
}

void copy_segment(const FlatState& flat, const Segment& segment, const at::Tensor& values) {
  flat.master.narrow(0, segment.offset, segment.numel).copy_(values.flatten());
}

std::vector<std::string> load_backbone(const fs::path& path, const Config& config, const ParamLayout& layout,
                                       const std::vector<FlatState*>& flats, const std::vector<const NamedTensors*>& buffers) {
  const WeightFile file = WeightFile::open(path);
  const Recognized recognized =
      recognize(file, {.heads = config.model.heads ? std::optional<int>(static_cast<int>(*config.model.heads)) : std::nullopt});
  // in float32, whatever the networks compute in: the masters keep every bit of the file
  const auto backbone = make_backbone(backbone_config(config), at::kFloat);
  backbone->initialize(static_cast<uint64_t>(config.train.seed));
  NamedTensors wanted = stored_state(*backbone);
  std::vector<std::string> lines;
  const auto* vit = std::get_if<VitConfig>(&recognized.config);
  if (vit && !vit->mask_token && std::erase_if(wanted, [](const NamedTensor& t) { return t.name == "mask_token"; }) > 0)
    lines.push_back("  the mask token is not in the file and begins at 0");
  const ImportReport report = import_weights(recognized, path, wanted);
  at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : backbone->parameters())
    for (const Segment& segment : layout.segments)
      if (segment.name == kBackbone + name)
        for (FlatState* flat : flats) copy_segment(*flat, segment, tensor);
  for (const auto& [name, tensor] : backbone->buffers())
    for (const NamedTensors* list : buffers)
      for (const NamedTensor& buffer : *list)
        if (buffer.name == kBackbone + name) buffer.tensor.copy_(tensor);
  for (FlatState* flat : flats) flat->publish();
  lines.insert(lines.begin(),
               "backbone from " + path.string() + ": " + std::to_string(report.loaded) + " tensors, " + describe(recognized.config));
  for (const auto* list : {&recognized.notes, &report.adapted, &report.ignored})
    for (const std::string& note : *list) lines.push_back("  " + note);
  return lines;
}

// The heads of a teacher that dinoxx saved, when all of them are there with the student's shapes.
std::string load_heads(const fs::path& path, const ParamLayout& layout, const std::vector<FlatState*>& flats) {
  if (path.filename() != "teacher.safetensors") return {};
  const SafetensorsFile file(path);
  std::vector<const Segment*> heads;
  for (const Segment& segment : layout.segments) {
    if (segment.name.starts_with(kBackbone)) continue;
    const auto found = file.tensors().find(segment.name);
    if (found == file.tensors().end() || found->second.shape != segment.shape)
      return "  heads begin anew: " + segment.name + (found == file.tensors().end() ? " is not in the file" : " has another shape there");
    heads.push_back(&segment);
  }
  at::NoGradGuard no_grad;
  for (const Segment* segment : heads)
    for (FlatState* flat : flats) copy_segment(*flat, *segment, to_tensor(file.at(segment->name)));
  for (FlatState* flat : flats) flat->publish();
  return "  heads from the same file";
}

Config saved_config(const SafetensorsFile& file, const fs::path& path) {
  const auto text = file.metadata().find("dinoxx.config");
  if (text == file.metadata().end())
    fail_usage("teacher.distill", "a run of dinoxx or its teacher.safetensors, which hold the heads too", path.string(),
               "Name such a run: prototypes are what is distilled");
  Config config = default_config();
  apply_settings(config, parse_settings(text->second, path.string()));
  return settled(config);
}

}  // namespace

std::vector<std::string> init_from(const fs::path& given, const Config& config, TrainState& state) {
  const fs::path path = weight_path("model.init_from", given);
  std::vector<FlatState*> flats{&state.student_flat, &state.teacher_flat};
  if (state.gram) flats.push_back(&state.gram->flat);
  std::vector<std::string> lines = load_backbone(path, config, state.layout, flats, {&state.student_buffers, &state.teacher_buffers});
  const std::string heads = load_heads(path, state.layout, flats);
  if (!heads.empty()) lines.push_back(heads);
  return lines;
}

std::vector<std::string> load_gram_teacher(const fs::path& given, const Config& config, TrainState& state) {
  std::vector<std::string> lines = load_backbone(weight_path("gram.teacher", given), config, state.layout, {&state.gram->flat}, {});
  lines.front() = "Gram teacher: " + lines.front();
  return lines;
}

Config frozen_teacher_config(const fs::path& given) {
  const fs::path path = weight_path("teacher.distill", given);
  if (fs::is_directory(path))
    fail_usage("teacher.distill", "a run of dinoxx, a checkpoint of it or its teacher.safetensors", path.string(), "Name one of them");
  return saved_config(SafetensorsFile(path), path);
}

std::vector<std::string> load_frozen_teacher(const fs::path& given, const MethodSpec& spec, at::ScalarType compute, at::Device device,
                                             TrainState& state) {
  const fs::path path = weight_path("teacher.distill", given);
  const SafetensorsFile file(path);
  const MethodSpec teacher = make_method(saved_config(file, path));
  if (!std::holds_alternative<DinoHeadConfig>(teacher.network.head.config))
    fail_usage("teacher.distill", "a teacher with prototypes", fmt::format("a run of {}", teacher.name),
               "Name a run of dino, ibot, dinov2, dinov3 or distill");
  const auto same = [&](const char* key, int mine, int theirs) {
    if (mine != theirs)
      fail_usage(key, fmt::format("{}, as the teacher in {} has", theirs, path.string()), std::to_string(mine),
                 "Give the student the same");
  };
  same("head.out_dim", out_dim(spec.network.head.config), out_dim(teacher.network.head.config));
  if (spec.masks) {
    const HeadPlan &mine = spec.network.patch_head.value_or(spec.network.head),
                   &theirs = teacher.network.patch_head.value_or(teacher.network.head);
    same("head.patch_out_dim", out_dim(mine.config), out_dim(theirs.config));
    const auto patch = [](const BackboneConfig& config) {
      return std::holds_alternative<VitConfig>(config) ? std::get<VitConfig>(config).patch_size : 0;
    };
    same("model.patch_size", patch(spec.network.backbone), patch(teacher.network.backbone));
  }
  auto network = std::make_unique<Network>(teacher.network, compute);
  NamedTensors all = network->parameters();
  for (const NamedTensor& buffer : network->buffers()) all.push_back(buffer);
  load_named(file, path.string(), all);
  if (!device.is_cpu()) network->to(device);
  state.frozen = std::move(network);
  return {"frozen teacher from " + path.string() + ": " + describe(teacher.network.backbone)};
}

}  // namespace dinoxx
