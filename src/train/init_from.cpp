#include "init_from.hpp"

#include <ATen/ATen.h>

#include "dinoxx/model/import.hpp"

namespace dinoxx {

std::vector<std::string> init_from(const std::string& path, const Config& config, TrainState& state) {
  const WeightFile file = WeightFile::open(path);
  const Recognized recognized = recognize(file, {.heads = static_cast<int>(config.model.heads.value())});
  // in float32, whatever the networks compute in: the masters keep every bit of the file
  const auto backbone = make_backbone(backbone_config(config), at::kFloat);
  const ImportReport report = import_weights(recognized, path, stored_state(*backbone));
  at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : backbone->parameters()) {
    for (const Segment& segment : state.layout.segments) {
      if (segment.name != "backbone." + name) continue;
      for (FlatState* flat : {&state.student_flat, &state.teacher_flat})
        flat->master.narrow(0, segment.offset, segment.numel).copy_(tensor.flatten());
    }
  }
  for (const auto& [name, tensor] : backbone->buffers())
    for (const NamedTensors* list : {&state.student_buffers, &state.teacher_buffers})
      for (const NamedTensor& buffer : *list)
        if (buffer.name == "backbone." + name) buffer.tensor.copy_(tensor);
  state.student_flat.publish();
  state.teacher_flat.publish();
  std::vector<std::string> lines{"backbone from " + path + ": " + std::to_string(report.loaded) + " tensors, " +
                                 describe(recognized.config)};
  for (const auto* list : {&recognized.notes, &report.adapted, &report.ignored})
    for (const std::string& note : *list) lines.push_back("  " + note);
  return lines;
}

}  // namespace dinoxx
