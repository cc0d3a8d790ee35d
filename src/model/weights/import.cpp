#include "import.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "dinoxx/base/error.hpp"
#include "weights.hpp"

namespace dinoxx {
namespace {

const std::set<std::string>& first_convolutions() {
  static const std::set<std::string> names{"patch_embed.proj.weight", "patch_embed.stem.0.conv.weight", "downsample_layers.0.0.weight",
                                           "conv1.weight"};
  return names;
}

/// The first convolution, [out, C0, k, k] -> [out, C, k, k].
at::Tensor with_input_channels(const at::Tensor& weight, int64_t channels) {
  const int64_t have = weight.size(1);
  if (channels == 1) return weight.sum(1, /*keepdim=*/true);
  const at::Tensor index = at::arange(channels, at::kLong).remainder(have);
  return weight.index_select(1, index) * (static_cast<double>(have) / static_cast<double>(channels));
}

/// The shapes that the file must have: those of the network, with the file's own number of channels in the first convolution.
std::vector<NamedShape> expected_shapes(const NamedTensors& into, int file_channels, bool has_stem) {
  std::vector<NamedShape> shapes;
  for (const auto& [name, tensor] : into) {
    NamedShape shape{name, tensor.sizes().vec()};
    const bool behind_stem = has_stem && name == "patch_embed.proj.weight";
    if (first_convolutions().contains(name) && !behind_stem && shape.shape.size() == 4) shape.shape[1] = file_channels;
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

/// One of our tensors from the file's parts.
at::Tensor assembled(const StoredTensor& stored, const Recognized& r) {
  std::vector<at::Tensor> parts;
  at::ScalarType type = at::kFloat;
  for (const StoredPart& part : stored.parts)
    if (!part.name.empty()) type = scalar_type(r.tensors.at(part.name)->dtype);
  for (const StoredPart& part : stored.parts)
    parts.push_back(part.name.empty() ? at::zeros(part.shape, type).flatten() : read_entry(*r.tensors.at(part.name)).flatten().to(type));
  return (parts.size() == 1 ? parts.front() : at::cat(parts)).view(stored.ours.shape);
}

}  // namespace

ImportReport import_weights(const Recognized& r, const std::string& source, const NamedTensors& into, const ImportOptions& options) {
  const auto* vit = std::get_if<VitConfig>(&r.config);
  const std::vector<StoredTensor> stored =
      stored_tensors(r.naming, r.config, expected_shapes(into, channels_of(r.config), vit && vit->stem == "conv"));
  ImportReport report;
  std::set<std::string> used;
  std::vector<bool> complete;
  for (const StoredTensor& t : stored) {
    bool all = true;
    for (const StoredPart& part : t.parts) {
      if (part.name.empty()) continue;
      const auto entry = r.tensors.find(part.name);
      if (entry == r.tensors.end()) {
        report.missing.push_back(part.name);
        all = false;
        continue;
      }
      used.insert(part.name);
      if (entry->second->shape != part.shape) {
        report.reshaped.push_back(
            fmt::format("{} [{}] instead of [{}]", part.name, fmt::join(entry->second->shape, ", "), fmt::join(part.shape, ", ")));
        all = false;
      }
    }
    complete.push_back(all);
  }
  for (const auto& [name, entry] : r.tensors) {
    if (used.contains(name)) continue;
    if (const auto why = known_extra(name))
      report.ignored.push_back(fmt::format("{}: {}", name, *why));
    else
      report.unexpected.push_back(name);
  }
  const bool bad = !report.reshaped.empty() || (!report.missing.empty() && !options.allow_missing) ||
                   (!report.unexpected.empty() && !options.allow_unexpected);
  if (bad)
    fail_usage("weights in " + source, fmt::format("the {} tensors of a {}", into.size(), describe(r.config)),
               listed_names("missing", report.missing) + listed_names("of another shape", report.reshaped) +
                   listed_names("unexpected", report.unexpected) + "nothing was loaded",
               "Check which network this is; \"dinoxx weights import\" goes on without them with --allow-missing and --allow-unexpected");

  at::NoGradGuard no_grad;
  for (size_t i = 0; i < stored.size(); ++i) {
    if (!complete[i]) continue;
    at::Tensor value = assembled(stored[i], r);
    const at::Tensor& target = into[i].tensor;
    if (value.sizes() != target.sizes()) {
      report.adapted.push_back(fmt::format("{}: from {} to {} input channels", into[i].name, value.size(1), target.size(1)));
      value = with_input_channels(value.to(at::kDouble), target.size(1));
    }
    target.copy_(value);
    ++report.loaded;
  }
  // the keys' part of a masked bias has no effect; 0 is what a file without it means
  if (vit && vit->mask_key_bias) {
    for (const auto& [name, tensor] : into) {
      const int64_t dim = vit->dim;
      if (name.ends_with("attn.qkv.bias")) tensor.narrow(0, dim, dim).zero_();
    }
  }
  return report;
}

ImportedBackbone import_backbone(const std::filesystem::path& path, at::ScalarType dtype, const RecognizeOptions& which,
                                 const ImportOptions& options, int channels) {
  const WeightFile file = WeightFile::open(path);
  ImportedBackbone imported;
  imported.recognized = recognize(file, which);
  Recognized& r = imported.recognized;
  const BackboneConfig config = channels > 0 ? with_channels(r.config, channels) : r.config;
  imported.backbone = make_backbone(config, dtype);
  if (options.allow_missing) imported.backbone->initialize(0);
  imported.report = import_weights(r, file.path().string(), stored_state(*imported.backbone), options);
  r.tensors.clear();
  r.config = config;
  return imported;
}

}  // namespace dinoxx
