// The teacher of a distillation: a run of dinoxx, or a training checkpoint of the official code.
#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "dinoxx/base/error.hpp"
#include "method/methods.hpp"
#include "method/settings/own_config.hpp"
#include "method/settings/resolve.hpp"
#include "method/shared/configure_views.hpp"
#include "method/teacher_config.hpp"
#include "model/heads/head_config.hpp"
#include "model/weights/facts.hpp"
#include "model/weights/import.hpp"
#include "model/weights/weights.hpp"
#include "other_weights.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;

constexpr const char* kKey = "teacher.distill";

// The resolved configuration in a weight file that dinoxx wrote; nothing for another file.
std::optional<Config> own_settings(const WeightFile& file) {
  const std::optional<Config> found = own_config(file);
  return found ? std::optional(settled(*found)) : std::nullopt;
}

DescribedNetwork described(const WeightFile& file, const Config& config) {
  FactOptions which;
  which.user = facts_from_text(config.teacher->facts, "teacher.facts");
  which.sources = said_by_training(file);
  DescribedNetwork found = describe_network(file, which);
  // the keys of [model] are the student's
  for (std::string& note : found.network.notes)
    for (const std::string key = "--model."; note.find(key) != std::string::npos;)
      note.replace(note.find(key), key.size(), "teacher.facts: ");
  return found;
}

[[noreturn]] void refuse_without_heads(const fs::path& path) {
  fail_usage(kKey, "a teacher with its heads: a run of dinoxx, or a training checkpoint with \"backbone.\" and \"head.\" or \"dino_head.\"",
             fmt::format("a backbone alone in {}", path.string()),
             "Prototypes are what is distilled; train.method = distill_features takes a bare backbone");
}

// A head by the shapes of its tensors; nothing where there is none under this prefix.
std::optional<HeadPlan> head_in(const WeightFile& file, const std::string& prefix, const std::string& name) {
  const std::string at = prefix + name + ".";
  const auto width = [&](const std::string& tensor, size_t dimension) {
    const WeightEntry& entry = file.at(at + tensor);
    if (entry.shape.size() != 2)
      fail_usage(kKey, fmt::format("a matrix {}", entry.name), fmt::format("{} dimensions", entry.shape.size()),
                 "Look at the file (dinoxx weights inspect)");
    return static_cast<int>(entry.shape[dimension]);
  };
  const bool weight_norm = file.find(at + "last_layer.weight_v") != nullptr;
  if (!weight_norm && !file.find(at + "last_layer.weight")) return std::nullopt;
  if (file.find(at + "last_layer2.weight_v") || file.find(at + "mlp.1.weight"))
    fail_usage(kKey, "a head of linear layers with one list of prototypes",
               fmt::format("batch norm or two lists in {} under {}", file.path().string(), at),
               "Such heads (iBOT's with two last layers, DINO's for convolutional networks) have no counterpart here");
  DinoHeadConfig head;
  head.weight_norm = weight_norm;
  const std::string last = weight_norm ? "last_layer.weight_v" : "last_layer.weight";
  head.out_dim = width(last, 0);
  head.bottleneck_dim = width(last, 1);
  head.layers = 1;
  if (file.find(at + "mlp.weight")) {
    head.in_dim = width("mlp.weight", 1);
    return HeadPlan{name, head};
  }
  head.in_dim = width("mlp.0.weight", 1);
  head.hidden_dim = width("mlp.0.weight", 0);
  while (file.find(fmt::format("{}mlp.{}.weight", at, 2 * head.layers))) ++head.layers;
  return HeadPlan{name, head};
}

// The networks of a checkpoint of the official code: backbone and heads side by side.
struct Published {
  WeightFile file;
  DescribedNetwork described;
  std::string prefix;  // of all of it
  NetworkConfig network;
};
Published published(const fs::path& path, const Config& config) {
  WeightFile file = WeightFile::open(path);
  DescribedNetwork found = described(file, config);
  Published p{std::move(file), std::move(found), {}, {}};
  const Recognized& recognized = p.described.network;
  require_numbers(recognized, path.string());
  const std::string part = "backbone.";
  if (recognized.prefix.ends_with(part)) p.prefix = recognized.prefix.substr(0, recognized.prefix.size() - part.size());
  std::optional<HeadPlan> head;
  if (recognized.prefix.ends_with(part))
    for (const char* name : {"head", "dino_head"})
      if (!head) head = head_in(p.file, p.prefix, name);
  if (!head) refuse_without_heads(path);
  p.network.backbone = recognized.config;
  p.network.head = *head;
  p.network.patch_head = head_in(p.file, p.prefix, "ibot_head");
  return p;
}

void check_fits(const MethodSpec& student, const NetworkConfig& teacher, const fs::path& path) {
  const auto same = [&](const char* key, int mine, int theirs) {
    if (mine != theirs)
      fail_usage(key, fmt::format("{}, as the teacher in {} has", theirs, path.string()), std::to_string(mine),
                 "Give the student the same");
  };
  same("head.out_dim", out_dim(student.network.head.config), out_dim(teacher.head.config));
  if (!student.masks) return;
  const HeadPlan &mine = student.network.patch_head.value_or(student.network.head), &theirs = teacher.patch_head.value_or(teacher.head);
  same("head.patch_out_dim", out_dim(mine.config), out_dim(theirs.config));
  const auto patch = [](const BackboneConfig& config) {
    return std::holds_alternative<VitConfig>(config) ? std::get<VitConfig>(config).patch_size : 0;
  };
  same("model.patch_size", patch(student.network.backbone), patch(teacher.backbone));
}

// The student's images are the teacher's.
void check_normalization(const Config& student, const InputNormalization& teacher, const fs::path& path) {
  if (teacher.assumed) return;
  const Normalization here = normalization_of(student);
  const auto same = [&](const char* key, const std::array<float, 3>& mine, const std::array<float, 3>& theirs) {
    for (size_t i = 0; i < mine.size(); ++i)
      if (std::abs(mine[i] - theirs[i]) > 1e-4f)
        fail_usage(key, fmt::format("{}, as the teacher in {} has it ({})", channels_text(theirs), path.string(), teacher.source),
                   channels_text(mine), "Give the student the same, or correct it by teacher.facts (mean=0.5 std=0.5)");
  };
  same("model.mean", here.mean, teacher.values.mean);
  same("model.std", here.std, teacher.values.std);
}

NamedTensors all_tensors(const Network& network) {
  NamedTensors all = network.parameters();
  for (const NamedTensor& buffer : network.buffers()) all.push_back(buffer);
  return all;
}

ImportReport load_backbone(Network& network, const Recognized& recognized, const fs::path& path) {
  network.initialize(0);
  at::NoGradGuard no_grad;
  NamedTensors wanted = stored_state(network.backbone());
  if (!recognized.tensors.contains("mask_token"))  // nothing is hidden from a teacher
    std::erase_if(wanted, [](const NamedTensor& t) { return t.name == "mask_token"; });
  return import_weights(recognized, path.string(), wanted);
}

// A backbone by itself, of whatever file.
std::unique_ptr<Network> bare(const Recognized& recognized, const fs::path& path, const MethodSpec& student, at::ScalarType compute,
                              std::vector<std::string>& lines) {
  require_numbers(recognized, path.string());
  const int width = feature_dim(recognized.config), projected = out_dim(student.network.head.config);
  if (width != projected)
    fail_usage("head.out_dim", fmt::format("{}, the width of the teacher in {}, or auto", width, path.string()), std::to_string(projected),
               "Leave it out");
  for (const ViewPlan& plan : student.plans())
    if (const int size = plan.views.front().size, multiple = side_multiple(recognized.config); size % multiple != 0)
      fail_usage("views.global_size", fmt::format("a multiple of {}, the patch of the teacher in {}", multiple, path.string()),
                 std::to_string(size), "Change it to a multiple of both patches");
  auto network = std::make_unique<Network>(recognized.config, compute);
  const ImportReport report = load_backbone(*network, recognized, path);
  for (const auto* list : {&report.adapted, &report.ignored})
    for (const std::string& note : *list) lines.push_back("  " + note);
  return network;
}

std::unique_ptr<Network> loaded(const Published& p, const fs::path& path, at::ScalarType compute, std::vector<std::string>& lines) {
  auto network = std::make_unique<Network>(p.network, compute);
  const ImportReport report = load_backbone(*network, p.described.network, path);
  at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : network->parameters()) {
    if (name.starts_with("backbone.")) continue;
    const at::Tensor values = read_entry(p.file.at(p.prefix + name));
    if (values.sizes() != tensor.sizes())
      fail_usage(kKey, fmt::format("{} elements of {}", tensor.numel(), p.prefix + name), std::to_string(values.numel()),
                 "Check the file (dinoxx weights inspect)");
    tensor.copy_(values);
  }
  for (const std::string& note : report.adapted) lines.push_back("  " + note);
  return network;
}

}  // namespace

bool frozen_teacher_has_weight_norm(const Config& config) {
  const fs::path path = weight_path(kKey, config.teacher->distill);
  if (const std::optional<Config> own = own_settings(WeightFile::open(path, FileAccess::kHeader))) return *own->head->weight_norm;
  return std::get<DinoHeadConfig>(published(path, config).network.head.config).weight_norm;
}

int64_t frozen_teacher_width(const Config& config) {
  const fs::path path = weight_path(kKey, config.teacher->distill);
  return feature_dim(described(WeightFile::open(path), config).network.config);
}

std::vector<std::string> load_frozen_teacher(const Config& config, const MethodSpec& spec, at::ScalarType compute, at::Device device,
                                             TrainState& state) {
  const fs::path path = weight_path(kKey, config.teacher->distill);
  std::vector<std::string> lines;
  std::unique_ptr<Network> network;
  const WeightFile file = WeightFile::open(path);
  const DescribedNetwork found = described(file, config);
  check_normalization(config, found.input.normalization, path);
  if (find_method(spec.name).bare_teacher) {
    network = bare(found.network, path, spec, compute, lines);
  } else if (const std::optional<Config> own = own_settings(file)) {
    const MethodSpec teacher = make_method(*own);
    const auto of_head = [&](const WeightEntry& entry) { return entry.name.starts_with(teacher.network.head.name + "."); };
    if (std::ranges::none_of(file.entries(), of_head)) refuse_without_heads(path);
    if (prototypes(teacher.network.head.config) == 0)
      fail_usage(kKey, "a teacher with prototypes", fmt::format("a run of {}", teacher.name),
                 "Name a run of dino, ibot, dinov2, dinov3 or distill");
    check_fits(spec, teacher.network, path);
    uint64_t numbers = 0;
    for (const WeightEntry& entry : file.entries()) numbers += entry.element_count();
    require_numbers(teacher.network.backbone, numbers, path.string());
    network = std::make_unique<Network>(teacher.network, compute);
    load_named(file, path.string(), all_tensors(*network));
  } else {
    const Published p = published(path, config);
    check_fits(spec, p.network, path);
    network = loaded(p, path, compute, lines);
  }
  std::vector<std::string> facts;
  for (const Fact& fact : found.facts) facts.push_back(describe(fact));
  std::vector<std::string> first{"frozen teacher from " + path.string() + ": " + describe(network->backbone().config()),
                                 fmt::format("  {}", fmt::join(facts, ", "))};
  for (const std::string& note : found.network.notes) first.push_back("  " + note);
  lines.insert(lines.begin(), first.begin(), first.end());
  if (!device.is_cpu()) network->to(device);
  state.frozen = std::move(network);
  return lines;
}

}  // namespace dinoxx
