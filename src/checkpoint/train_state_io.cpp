#include "train_state_io.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/json_text.hpp"
#include "checkpoint.hpp"
#include "comm/agree.hpp"
#include "config/config_fields.hpp"
#include "config/train_keys.hpp"
#include "dinoxx/base/error.hpp"
#include "entry.hpp"
#include "formats/safetensors.hpp"
#include "kernels/cpu_level.hpp"
#include "method/settings/at_resume.hpp"
#include "method/settings/resolve.hpp"
#include "method/settings/unread_keys.hpp"
#include "model/weights/backbone_json.hpp"
#include "saved_run.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Everything that is saved: handles to the live tensors. The optimizer's step counts travel as scalars of their own.
struct SavedTensors {
  CheckpointTensors tensors;
  std::vector<at::Tensor> counts;
};

SavedTensors saved_tensors(TrainState& state) {
  SavedTensors saved;
  saved.tensors.layout = &state.owned();
  saved.tensors.holders = state.groups.fellows.get();
  saved.tensors.split = {{"student", state.student_flat.master}, {"teacher", state.teacher_flat.master}};
  for (const auto& [name, tensor] : state.optimizer->named_state())
    saved.tensors.split.push_back({state.optimizer_name + "." + name, tensor});
  if (state.gram) saved.tensors.split.push_back({"gram", state.gram->flat.master});
  if (state.centre) saved.tensors.replicated.push_back({"centre", state.centre->value()});
  if (state.patch_centre) saved.tensors.replicated.push_back({"patch_centre", state.patch_centre->value()});
  for (const auto& [name, tensor] : state.student_buffers) saved.tensors.replicated.push_back({"student.buffer/" + name, tensor});
  for (const auto& [name, tensor] : state.teacher_buffers) saved.tensors.replicated.push_back({"teacher.buffer/" + name, tensor});
  for (size_t i = 0; i < state.layout.segments.size(); ++i) {
    saved.counts.push_back(at::full({}, state.optimizer->segment_steps[i], at::kLong));
    saved.tensors.replicated.push_back({state.optimizer_name + ".step/" + state.layout.segments[i].name, saved.counts.back()});
  }
  return saved;
}

// That of the views which the run's method asks the loader for.
Normalization trained_normalization(const RunFacts& facts) {
  Config config = default_config();
  apply_settings(config, parse_settings(facts.config_text, "config.cfg"));
  return make_method(settled(config)).views.normalization.value();
}

// The teacher's masters under their published names, "backbone." taken off for programs that expect a bare backbone. Handles to the live
// state.
std::vector<SideFile> teacher_files(const TrainState& state, const RunFacts& facts) {
  SideFile whole{.file = checkpoint::kTeacher,
                 .metadata = {{"format", "pt"},
                              {"dinoxx.config", facts.config_text},
                              {"dinoxx.backbone", json_text(to_json(state.teacher.backbone().config()))},
                              {kNormalizationKey, to_text(trained_normalization(facts))}}};
  SideFile backbone{.file = "backbone.safetensors", .metadata = whole.metadata};
  const std::string prefix = "backbone.";
  const auto add = [&](SideTensor tensor) {
    whole.tensors.push_back(tensor);
    if (!tensor.name.starts_with(prefix)) return;
    tensor.name = tensor.name.substr(prefix.size());
    backbone.tensors.push_back(std::move(tensor));
  };
  const FlatState& teacher = state.teacher_flat;
  for (size_t s = 0; s < state.layout.segments.size(); ++s) {
    const Segment& segment = state.layout.segments[s];
    add({segment.name, teacher.master.scalar_type(), segment.shape,
         [&, s](bool wanted) { return teacher.whole_segment(state.layout, teacher.master, s, wanted); }});
  }
  for (const auto& [name, tensor] : state.teacher_buffers)
    add({name, tensor.scalar_type(), tensor.sizes().vec(), [tensor = tensor](bool wanted) { return wanted ? tensor.cpu() : tensor; }});
  std::vector<SideFile> files;
  for (SideFile* file : {&whole, &backbone})
    for (SideFile& part : in_parts(std::move(*file), facts.part_bytes)) files.push_back(std::move(part));
  return files;
}

// Said in the words of the configuration, not in names of tensors, and before anything is read.
void check_same_run(const SavedRun& saved, const Config& now) {
  std::vector<std::string> others = other_network(saved.settings, now);
  if (others.empty()) others = other_state(saved.settings.config, now);
  if (!others.empty()) refuse_other_run(saved.folder, others);
}

// Groups of images that a step looks at together, in so far as they depend on the number of ranks.
std::vector<std::string> groups_of_ranks(const Config& before, const Config& now, int64_t ranks_before, int64_t ranks) {
  std::vector<std::string> found;
  const auto of_rank = [&](const std::string& key, const std::string& what) {
    for (const Field& field : config_fields()) {
      if (field.key != key || why_unread(field, now) || field.get(before) != "0" || field.get(now) != "0") continue;
      const int64_t was = train_images_at_once(before, ranks_before), is = train_images_at_once(now, ranks);
      if (was != is)
        found.push_back(fmt::format("{} = 0: {} is a rank's {}, {} images before and {} now", key, what,
                                    train_accumulate(before) == 1 && train_accumulate(now) == 1 ? "batch" : "part of its batch", was, is));
    }
  };
  of_rank("loss.koleo_group", "KoLeo's group");
  of_rank("model.drop_path_group", "the group of stochastic depth");
  for (const Field& field : config_fields())
    if (field.key == "mask.group_size" && !why_unread(field, now) && field.get(before) != field.get(now))
      found.push_back(fmt::format("mask.group_size was {} and is {}", field.get(before), field.get(now)));
  return found;
}

}  // namespace

fs::path save_state(Communicator& comm, const fs::path& checkpoints, TrainState& state, const RunFacts& facts) {
  json record = {{"position", state.position},
                 {"progress",
                  {{"samples", state.position},
                   {"of_samples", facts.length},
                   {"epochs", static_cast<double>(state.position) / static_cast<double>(std::max<uint64_t>(facts.images, 1))}}},
                 {"branch", facts.branch},
                 {"stays", facts.stays},
                 {"resolved", facts.chosen},
                 {"config", facts.config_text},
                 {"dataset", {{"fingerprint", facts.fingerprint}, {"images", facts.images}}},
                 {"build", facts.build},
                 {"cpu", facts.cpu},
                 {"simd", level_name(cpu_level())},
                 {"communicator", facts.communicator},
                 {"threads", facts.threads},
                 {"batch_size", facts.batch_size},
                 {"sync", facts.sync}};
  if (!facts.frozen.is_null()) record["frozen_teacher"] = facts.frozen;
  const SavedTensors saved = saved_tensors(state);
  return save_checkpoint(comm, checkpoints, state.step, saved.tensors, teacher_files(state, facts), record);
}

CheckpointBytes checkpoint_bytes(const TrainState& state) {
  constexpr int64_t kHeader = 160;  // of a tensor in a file: name, type, shape, place
  const auto segments = static_cast<int64_t>(state.layout.segments.size());
  const auto of_buffers = [](const NamedTensors& buffers) {
    int64_t bytes = 0;
    for (const NamedTensor& buffer : buffers) bytes += static_cast<int64_t>(buffer.tensor.nbytes()) + kHeader;
    return bytes;
  };
  int64_t whole = 0, backbone = 0;
  for (const Segment& segment : state.layout.segments) {
    const int64_t bytes = segment.numel * static_cast<int64_t>(sizeof(float)) + kHeader;
    whole += bytes;
    if (segment.name.starts_with("backbone.")) backbone += bytes;
  }
  const auto flats = 2 + static_cast<int64_t>(state.optimizer->named_state().size()) + (state.gram ? 1 : 0);
  const int64_t teacher_buffers = of_buffers(state.teacher_buffers);
  CheckpointBytes bytes{flats * whole, segments * kHeader + of_buffers(state.student_buffers) + teacher_buffers};
  for (const auto* centre : {&state.centre, &state.patch_centre})
    if (*centre) bytes.chief += static_cast<int64_t>((*centre)->value().nbytes()) + kHeader;
  // the teacher's file and the manifest hold the configuration with its help
  const auto text = static_cast<int64_t>(print_config(default_config()).size());
  bytes.teacher = whole + teacher_buffers + text;
  bytes.chief += bytes.teacher + backbone + teacher_buffers + text;
  return bytes;
}

std::vector<std::string> load_state(Communicator& comm, const fs::path& checkpoint, TrainState& state, const RunFacts& facts) {
  SavedRun run;
  Config now = default_config();
  on_all_ranks(comm, [&] {
    run = read_saved_run(checkpoint);
    apply_settings(now, parse_settings(facts.config_text, "config.cfg"));
    check_same_run(run, now);
  });
  SavedTensors saved = saved_tensors(state);
  std::vector<std::pair<at::Tensor, at::Tensor>> on_gpu;  // and what is read for it; between two segments there are zeros
  for (NamedTensors* list : {&saved.tensors.split, &saved.tensors.replicated}) {
    for (auto& [name, tensor] : *list) {
      if (tensor.device().is_cpu()) continue;
      on_gpu.emplace_back(tensor, at::zeros(tensor.sizes(), tensor.options().device(at::kCPU)));
      tensor = on_gpu.back().second;
    }
  }
  load_checkpoint(comm, checkpoint, saved.tensors);
  for (const auto& [live, read] : on_gpu) live.copy_(read);
  for (size_t i = 0; i < saved.counts.size(); ++i) state.optimizer->segment_steps[i] = saved.counts[i].item<int64_t>();
  state.student_flat.publish();
  state.teacher_flat.publish();
  if (state.gram) state.gram->flat.publish();
  state.step = run.step;
  state.position = run.position;

  const json& manifest = run.manifest;
  const Config& before = run.settings.config;
  const auto ranks_before = std::max<int64_t>(manifest["world_size"].get<int64_t>(), 1);
  std::vector<std::string> lost;
  const auto compare = [&](const std::string& what, const json& before, const json& now, const std::string& claim) {
    if (before != now) lost.push_back(fmt::format("{} was {} and is {}: {}", what, json_text(before), json_text(now), claim));
  };
  const std::string rounding = "results agree up to rounding, not bit for bit";
  const std::vector<std::string> groups = groups_of_ranks(before, now, ranks_before, comm.size());
  const std::string of_ranks =
      groups.empty()
          ? rounding
          : fmt::format("from here on results differ by more than rounding, as groups of images are others ({})", fmt::join(groups, "; "));
  compare("world size", ranks_before, comm.size(), of_ranks);
  if (groups.empty()) compare("communicator", manifest.value("communicator", json()), facts.communicator, rounding);
  if (manifest.contains("sync")) compare("parallel.sync", manifest["sync"], facts.sync, rounding);
  compare("threads per rank", manifest.value("threads", json()), facts.threads, rounding);
  compare("CPU", manifest.value("cpu", json()), facts.cpu, rounding);
  if (manifest.contains("simd"))
    compare("instruction set level", manifest["simd"], level_name(cpu_level()), rounding);  // older checkpoints do not say
  compare("build", manifest.value("build", json()), facts.build, rounding);
  compare("data set", manifest.value("dataset", json()).value("fingerprint", json()), facts.fingerprint,
          "images and their order differ: from here on it is a different run");
  for (const std::string& difference : read_differences(before, now))
    lost.push_back(difference + ": from here on the configuration differs");
  return lost;
}

}  // namespace dinoxx
