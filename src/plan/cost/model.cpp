#include "model.hpp"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "config/architectures.hpp"
#include "data_pipeline/augment/masks.hpp"
#include "dinoxx/base/error.hpp"
#include "loss/loss_config.hpp"
#include "method/methods.hpp"
#include "model/heads/head_config.hpp"
#include "model/layers/init.hpp"
#include "model/model_config.hpp"
#include "step/build.hpp"
#include "train/training_config.hpp"

namespace dinoxx::plan {
namespace {

CropGroup crops_of(const BackboneConfig& backbone, int64_t views, int64_t size, bool local) {
  CropGroup group{.views = views, .size = size, .local = local};
  if (const auto* vit = std::get_if<VitConfig>(&backbone)) {
    const int64_t side = vit->fit == "pad" ? (size + vit->patch_size - 1) / vit->patch_size : size / vit->patch_size;
    group.patches = side * side;
    group.tokens = group.patches + vit->prefix();
  }
  return group;
}

// Mean over the masks that a training draws for its first images.
double masked_patches(const MethodSpec& spec, const ViewPlan& plan, uint64_t seed) {
  if (!spec.masks) return 0;
  const int grid = plan.views.front().size / spec.masks->patch_size;
  const int64_t group = std::max(spec.masks->spec.group_size, 1), images = (63 + group) / group * group;
  std::vector<uint64_t> positions(static_cast<size_t>(images));
  std::iota(positions.begin(), positions.end(), 0);
  std::vector<uint8_t> masks;
  make_masks(spec.masks->spec, grid, grid, plan.global_count(), positions, seed, masks);
  return std::accumulate(masks.begin(), masks.end(), 0.0) / static_cast<double>(images);
}

Resolution resolution_of(const MethodSpec& spec, const ViewPlan& plan, const BackboneConfig& teacher, uint64_t seed) {
  Resolution found;
  found.share = plan.share;
  const int64_t globals = plan.global_count();
  int64_t view = 0;
  for (const ViewSpec& v : plan.views) {
    if (v.geometry_of >= 0) continue;
    const bool local = view++ >= globals;
    if (!spec.split_views && !found.student.empty() && found.student.back().size == v.size)
      ++found.student.back().views;
    else
      found.student.push_back(crops_of(spec.network.backbone, 1, v.size, local));
  }
  for (size_t i = 0; i < found.student.size(); ++i) {
    // views behind the first group are local ones of another size, or single views of a method that splits them
    found.student[i].local = i > 0 && !spec.split_views;
    found.student[i] = crops_of(spec.network.backbone, found.student[i].views, found.student[i].size, found.student[i].local);
  }
  if (spec.teacher != TeacherPolicy::kNone) {
    int64_t left = globals;
    for (const CropGroup& group : found.student) {
      const int64_t take = std::min(left, group.views);
      if (take > 0) found.teacher.push_back(crops_of(teacher, take, group.size, false));
      left -= take;
    }
  }
  if (spec.gram) {
    const int64_t size = plan.gram_count() > 0 ? plan.views.back().size : plan.views.front().size;
    found.gram = crops_of(spec.network.backbone, globals, size, false);
  }
  found.masked = masked_patches(spec, plan, seed);
  return found;
}

std::string part_of(const std::string& name) {
  if (name.find("last_layer") != std::string::npos) return "prototypes";
  if (!name.starts_with("backbone.")) return "heads";
  const std::string inner = name.substr(9);
  for (const char* blocks : {"blocks.", "layer", "stages."})
    if (inner.starts_with(blocks)) return "blocks";
  if (inner.find("norm") != std::string::npos && !inner.starts_with("patch_embed")) return "norms";
  return "embedding";
}

void count_parts(Model& model) {
  for (const char* part : {"embedding", "blocks", "norms", "heads", "prototypes"}) model.parts.push_back({part, 0});
  for (const Segment& segment : model.layout.segments) {
    for (PartSizes& size : model.parts)
      if (size.part == part_of(segment.name)) size.elements += segment.numel;
    model.parameters += segment.numel;
  }
  std::erase_if(model.parts, [](const PartSizes& size) { return size.elements == 0; });
}

int64_t bucket_bytes(const Config& config) {
  return static_cast<int64_t>(config.train->bucket_mb * 1048576.0);
}

// The heads of a frozen teacher are the student's, on its own features: prototypes have to be equal.
NetworkConfig teacher_network(const MethodSpec& spec, const BackboneConfig& backbone) {
  NetworkConfig network = spec.network;
  network.backbone = backbone;
  const auto stand_on = [width = feature_dim(backbone)](HeadPlan& head) {
    std::visit([&](auto& config) { config.in_dim = width; }, head.config);
  };
  stand_on(network.head);
  if (network.patch_head) stand_on(*network.patch_head);
  network.predictor.reset();
  network.guides.clear();
  return network;
}

}  // namespace

int64_t Resolution::pixels() const {
  int64_t sum = 0;
  for (const CropGroup& group : student) sum += group.views * group.size * group.size;
  if (gram && (student.empty() || gram->size != student.front().size)) sum += gram->views * gram->size * gram->size;
  return sum;
}

int64_t padded(const ParamLayout& layout, const Bucket& bucket, int64_t shards) {
  if (shards == 1) return bucket.end - bucket.begin;
  const int64_t multiple = bucket_multiple(static_cast<int>(shards));
  const Segment& last = layout.segments[static_cast<size_t>(bucket.last_segment) - 1];
  return (last.offset + last.numel - bucket.begin + multiple - 1) / multiple * multiple;
}

int64_t Model::padded(int64_t shards) const {
  int64_t sum = 0;
  for (const Bucket& bucket : layout.buckets) sum += plan::padded(layout, bucket, shards);
  return sum;
}

int64_t Model::compute_bytes() const {
  return config.train->precision == "bf16" ? 2 : 4;
}

int64_t Model::elements_of(std::string_view part) const {
  for (const PartSizes& size : parts)
    if (size.part == part) return size.elements;
  return 0;
}

Prototypes Model::prototypes() const {
  return {config.loss->rows_at_once, config.head->shard_prototypes};
}

Model make_model(const Config& resolved, const BackboneConfig& teacher) {
  const init::ShapesOnly shapes_only;
  Model model;
  model.config = resolved;
  const bool bare = find_method(resolved.train->method).bare_teacher;
  if (bare) model.config.head->out_dim = feature_dim(teacher);  // of which the start of a training reads the file
  model.spec = make_method(model.config);
  const Network network(model.spec.network, at::kFloat);
  model.layout = ParamLayout::build(network.parameters(), bucket_bytes(resolved), model.spec.norm_last_layer);
  if (has_prototypes(model.spec))
    model.by_columns = ParamLayout::build(network.parameters(), bucket_bytes(resolved), model.spec.norm_last_layer, /*ranks=*/1,
                                          /*by_block=*/false, /*by_columns=*/true);
  count_parts(model);
  for (const NamedTensor& buffer : network.buffers()) {
    ++model.buffer_tensors;
    model.buffer_bytes += static_cast<double>(buffer.tensor.nbytes());
    if (!buffer.name.ends_with("running_mean")) continue;
    ++model.norms;
    model.norm_channels += buffer.tensor.numel();
    if (!model.spec.network.predictor || !buffer.name.starts_with(model.spec.network.predictor->name + ".")) continue;
    ++model.predictor_norms;
    model.predictor_channels += buffer.tensor.numel();
  }
  if (model.spec.teacher == TeacherPolicy::kFrozen) {
    model.frozen = teacher_network(model.spec, teacher);
    const Network frozen = bare ? Network(teacher, at::kFloat) : Network(*model.frozen, at::kFloat);
    for (const NamedTensor& parameter : frozen.parameters()) model.frozen_elements += parameter.tensor.numel();
  }
  for (const ViewPlan& plan : model.spec.plans())
    model.resolutions.push_back(resolution_of(model.spec, plan, model.frozen ? model.frozen->backbone : model.spec.network.backbone,
                                              static_cast<uint64_t>(resolved.train->seed)));
  return model;
}

Model make_model(const Config& resolved, const std::string& teacher_arch) {
  if (find_method(resolved.train->method).teacher != TeacherPolicy::kFrozen) {
    if (!teacher_arch.empty())
      fail_usage("--teacher-arch", "a method with a frozen teacher", fmt::format("train.method = {}", resolved.train->method),
                 "Leave it out");
    return make_model(resolved, BackboneConfig(VitConfig()));
  }
  const std::string arch = teacher_arch.empty() ? "vit_large" : teacher_arch;
  if (family_of(arch) != Family::kVit)
    fail_usage("--teacher-arch", "a vision transformer", fmt::format("\"{}\"", arch), "Name one, as vit_large");
  VitConfig teacher = vit_config(arch, resolved.model->style);
  teacher.patch_size = static_cast<int>(resolved.model->patch_size);
  teacher.image_size = static_cast<int>(resolved.model->image_size.value_or(teacher.image_size));
  Model model = make_model(resolved, BackboneConfig(teacher));
  if (teacher_arch.empty()) model.notes.emplace_back("the frozen teacher is taken to be a vit_large; --teacher-arch names another");
  return model;
}

bool needs(const MethodSpec& spec, Need need) {
  return std::any_of(spec.terms.begin(), spec.terms.end(),
                     [&](const LossTerm& term) { return std::find(term.needs.begin(), term.needs.end(), need) != term.needs.end(); });
}

bool has_term(const MethodSpec& spec, std::string_view name) {
  return std::any_of(spec.terms.begin(), spec.terms.end(), [&](const LossTerm& term) { return term.name == name; });
}

bool has_prototypes(const MethodSpec& spec) {
  return dinoxx::prototypes(spec.network.head.config) > 0;
}

bool compares_ranks(const MethodSpec& spec) {
  return spec.teacher == TeacherPolicy::kNone && needs(spec, Need::kTwoViews);
}

double kept_share(const VitConfig& config, int64_t block, int64_t batch) {
  if (config.drop_path == 0 || config.drop_path_form == "mask") return 1;
  const double rate = config.drop_path_rule == "uniform"
                          ? config.drop_path
                          : (config.depth > 1 ? config.drop_path * static_cast<double>(block) / (config.depth - 1) : 0.0);
  const int64_t group = config.drop_path_group == 0 ? batch : config.drop_path_group;
  const auto kept = std::max<int64_t>(static_cast<int64_t>(static_cast<double>(group) * (1 - rate)), 1);
  return static_cast<double>(kept) / static_cast<double>(group);
}

}  // namespace dinoxx::plan
