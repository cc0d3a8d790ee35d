#include "train_state.hpp"

#include <ATen/ATen.h>

#include "dinoxx/base/error.hpp"
#include "loss/loss_config.hpp"
#include "optim/optim_config.hpp"
#include "parallel/gradient_sync.hpp"
#include "train/training_config.hpp"

namespace dinoxx {
namespace {

at::ScalarType master_type(at::ScalarType compute) {
  return compute == at::kDouble ? at::kDouble : at::kFloat;
}

// Weights are drawn on the CPU, so that they are equal on every kind of device, and moved before FlatState makes them views.
Network initialized(const Config& config, const MethodSpec& spec, at::ScalarType compute, at::Device device) {
  Network network(spec.network, compute);
  network.initialize(static_cast<uint64_t>(config.train->seed));
  if (!device.is_cpu()) network.to(device);
  return network;
}

// The beginning of a teacher. Drawing the same numbers again would take as long as the first time.
Network copy_of(const Network& network, const MethodSpec& spec, at::ScalarType compute, at::Device device) {
  Network copy(spec.network, compute);
  if (!device.is_cpu()) copy.to(device);
  copy.copy_from(network);
  return copy;
}

std::shared_ptr<const Shards> shards_of(const ParamLayout& layout, const SyncGroups& groups, at::ScalarType compute, at::Device device) {
  if (!groups.shards) return nullptr;
  return std::make_shared<const Shards>(layout, groups.shards, gradient_path(device).message_bytes,
                                        static_cast<int64_t>(at::elementSize(master_type(compute))), groups.sharing);
}

// The network asks for the weights that its state brings.
void hold_blocks(Network& network, FlatState& flat) {
  if (!flat.shards || flat.shards->blocks == 0) return;
  if (!network.hold_blocks_by([&flat](size_t block, bool backward) { return flat.hold_block(block, backward); }))
    fail("shared weights", "a network with blocks that can be held", describe(network.backbone().config()), "Choose another parallel.sync");
}

std::optional<Centre> centre_for(bool wanted, const ProjectionConfig& head, const Config& config, at::ScalarType type, at::Device device) {
  if (!wanted) return std::nullopt;
  Centre centre(out_dim(head), config.loss->centre_momentum, type);
  centre.value() = centre.value().to(device);
  return centre;
}

}  // namespace

TrainState::TrainState(const Config& config, const MethodSpec& spec, at::ScalarType compute, at::Device device, const SyncGroups& groups)
    : student(initialized(config, spec, compute, device)),
      teacher(copy_of(student, spec, compute, device)),
      student_buffers(student.buffers()),
      teacher_buffers(teacher.buffers()),
      groups(groups),
      layout(ParamLayout::build(student.parameters(), static_cast<int64_t>(config.train->bucket_mb * 1048576.0), spec.norm_last_layer,
                                groups.shards ? groups.shards->size() : 1, groups.sharing == Sharing::kWeights, groups.columns)),
      shards(shards_of(layout, groups, compute, device)),
      student_flat(layout, student.parameters(), /*with_grad=*/true, master_type(compute), compute, shards),
      teacher_flat(layout, teacher.parameters(), /*with_grad=*/false, master_type(compute), compute, shards),
      optimizer_name(config.optim->name),
      optimizer(make_optimizer(optimizer_config(config), owned(), master_type(compute))),
      rules(segment_rules(layout, rule_options(config, false))),
      frozen_rules(segment_rules(layout, rule_options(config, true))),
      thaw(thaw_of(config)),
      clip(*config.optim->clip),
      clip_by_module(config.optim->clip_by == "module"),
      centre(centre_for(spec.centre, spec.network.head.config, config, master_type(compute), device)),
      patch_centre(
          centre_for(spec.patch_centre, spec.network.patch_head.value_or(spec.network.head).config, config, master_type(compute), device)) {
  if (spec.keeps_gram_network()) {
    const std::vector<std::shared_ptr<void>> whole = student_flat.hold_all();
    // of a head in columns the student has no more than its own
    Network network = groups.columns ? initialized(config, spec, compute, device) : copy_of(student, spec, compute, device);
    FlatState flat(layout, network.parameters(), /*with_grad=*/false, master_type(compute), compute, shards);
    gram = std::make_unique<Gram>(Gram{std::move(network), std::move(flat)});
  }
  hold_blocks(student, student_flat);
  hold_blocks(teacher, teacher_flat);
  if (gram) hold_blocks(gram->network, gram->flat);
}

std::vector<SegmentRule> TrainState::rules_of(const StepValues& values) const {
  std::vector<SegmentRule> found = values.freeze_last_layer ? frozen_rules : rules;
  if (thaw) {
    Thaw now = *thaw;
    now.share = values.thawed;
    apply_thaw(layout, now, found);
  }
  return found;
}

std::optional<std::vector<FlatRange>> TrainState::averaged(const StepValues& values, const std::vector<SegmentRule>& rules) const {
  if (!thaw && !values.hold_backbone) return std::nullopt;
  std::vector<FlatRange> ranges;
  for (size_t s = 0; s < owned().segments.size(); ++s) {
    const Segment& segment = owned().segments[s];
    if (segment.name.starts_with("backbone.") && (values.hold_backbone || rules[s].frozen)) continue;
    const int64_t end = segment.offset + segment.numel;
    if (s > 0 && !ranges.empty() && segment.offset - (ranges.back().begin + ranges.back().count) < kSegmentAlignment)
      ranges.back().count = end - ranges.back().begin;  // with the padding between the two
    else
      ranges.push_back({segment.offset, segment.numel});
  }
  return ranges;
}

void TrainState::share_frozen() {
  if (!frozen || !groups.shards || groups.sharing != Sharing::kWeights) return;
  const NamedTensors parameters = frozen->parameters();
  const at::ScalarType type = parameters.front().tensor.scalar_type();
  const ParamLayout of_frozen = ParamLayout::build(parameters, 4 << 20, true, groups.shards->size(), /*by_block=*/true);
  const auto of_ranks =
      std::make_shared<const Shards>(of_frozen, groups.shards, gradient_path(parameters.front().tensor.device()).message_bytes,
                                     static_cast<int64_t>(at::elementSize(type)), groups.sharing);
  frozen_flat = std::make_unique<FlatState>(of_frozen, parameters, /*with_grad=*/false, type, type, of_ranks);
  hold_blocks(*frozen, *frozen_flat);
}

}  // namespace dinoxx
