#include "import.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
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

/// A lower bound, without what a network may lack. Infinite for sizes that no network has.
double least_numbers(const BackboneConfig& config) {
  constexpr double kLargest = 1 << 24;
  const auto square = [](double x) { return x * x; };
  double sum = 0;
  if (const auto* c = std::get_if<VitConfig>(&config)) {
    const double dim = c->dim, swiglu = c->ffn == "swiglu";
    const double hidden = c->ffn_hidden > 0 ? c->ffn_hidden : dim * c->mlp_ratio * (swiglu ? 2 / 3.0 : 1);
    if (std::max({dim, hidden, double(c->patch_size), double(c->image_size), double(c->registers), double(c->channels)}) > kLargest)
      return std::numeric_limits<double>::infinity();
    sum = c->depth * (4 * square(dim) + (2 + swiglu) * dim * std::floor(hidden)) + c->registers * dim;
    if (c->positions == "learned" && c->patch_size > 0) sum += square(c->image_size / c->patch_size) * dim;
    if (c->stem == "patch") sum += c->channels * square(c->patch_size) * dim;
  } else if (const auto* convnext = std::get_if<ConvNextConfig>(&config)) {
    for (size_t i = 0; i < convnext->dims.size(); ++i)
      sum += convnext->depths[i] * (8 * square(convnext->dims[i]) + 49.0 * convnext->dims[i]);
  } else {
    const auto& resnet = std::get<ResNetConfig>(config);
    for (size_t i = 0; i < resnet.depths.size(); ++i)
      sum += resnet.depths[i] * (resnet.bottleneck ? 17 : 9) * square(static_cast<double>(resnet.width) * (1 << i));
  }
  return sum;
}

/// Quantised numbers mean something only together with their factors.
void require_plain_types(const Recognized& r, const std::string& source) {
  std::vector<std::string> others;
  for (const auto& [name, entry] : r.tensors) {
    const bool plain = is_floating(entry->dtype) || entry->dtype == DType::kI64 || entry->dtype == DType::kI32;
    if (!plain && !known_extra(name)) others.push_back(fmt::format("{} ({})", name, dtype_name(entry->dtype)));
  }
  if (!others.empty())
    fail_usage("weights in " + source, "numbers of the types F64, F32, F16 or BF16",
               listed_names("of other types", others) + "nothing was loaded",
               "8-bit types (F8_E4M3, F8_E5M2, I8, U8) are quantised: dequantise the model with the program that made it, and save it as "
               "float32 or bfloat16");
}

/// In memory transformers 5 keeps the two halves of DINOv2's gated feed-forward part apart, which its files join.
void split_gates(std::vector<StoredTensor>& stored, const Recognized& r) {
  constexpr std::string_view joined = "mlp.weights_in.";
  for (StoredTensor& t : stored) {
    const size_t at = t.parts.size() == 1 ? t.parts[0].name.find(joined) : std::string::npos;
    if (at == std::string::npos || r.tensors.contains(t.parts[0].name)) continue;
    const std::string before = t.parts[0].name.substr(0, at), end = t.parts[0].name.substr(at + joined.size());
    std::vector<int64_t> half = t.parts[0].shape;
    half[0] /= 2;
    if (r.tensors.contains(before + "mlp.gate_proj." + end))
      t.parts = {{before + "mlp.gate_proj." + end, half}, {before + "mlp.up_proj." + end, half}};
  }
}

}  // namespace

ImportReport import_weights(const Recognized& r, const std::string& source, const NamedTensors& into, const ImportOptions& options) {
  const auto* vit = std::get_if<VitConfig>(&r.config);
  require_plain_types(r, source);
  std::vector<StoredTensor> stored =
      stored_tensors(r.naming, r.config, expected_shapes(into, channels_of(r.config), vit && vit->stem == "conv"));
  split_gates(stored, r);
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
    if (entry->element_count() == 0)
      report.ignored.push_back(fmt::format("{}: empty", name));
    else if (const auto why = known_extra(name))
      report.ignored.push_back(fmt::format("{}: {}", name, *why));
    else
      report.unexpected.push_back(name);
  }
  const bool bad = !report.reshaped.empty() || (!report.missing.empty() && !options.allow_missing) ||
                   (!report.unexpected.empty() && !options.allow_unexpected);
  if (bad)
    fail_usage("weights in " + source, fmt::format("the {} tensors of a {}", into.size(), describe(r.config)),
               listed_names("missing", report.missing) + listed_names("of another shape", report.reshaped) +
                   listed_names("unexpected", report.unexpected) + listed_names("left unread", r.unread) + "nothing was loaded",
               "Check which network this is; \"dinoxx weights import\" goes on without them with --allow-missing and --allow-unexpected");

  at::NoGradGuard no_grad;
  for (size_t i = 0; i < stored.size(); ++i) {
    if (!complete[i]) continue;
    at::Tensor value = assembled(stored[i], r);
    report.types[into[i].name] = value.scalar_type();
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

void require_numbers(const BackboneConfig& config, uint64_t numbers, const std::string& source) {
  constexpr double kFactor = 4, kFree = 1 << 24;  // what is missing by a little is said by name, once the network is there
  const double least = least_numbers(config);
  if (!(least <= kFactor * static_cast<double>(numbers) + kFree))
    fail_usage("weights in " + source, fmt::format("at least {:.0f} numbers for a {}", least, describe(config)), fmt::format("{}", numbers),
               "What the file says of itself (its metadata, the shape of one tensor) belongs to another network");
}

void require_numbers(const Recognized& r, const std::string& source) {
  uint64_t numbers = 0;
  for (const auto& [name, entry] : r.tensors) numbers += entry->element_count();
  require_numbers(r.config, numbers, source);
}

ImportedBackbone import_with_facts(const std::filesystem::path& path, at::ScalarType dtype, const FactOptions& which,
                                   const ImportOptions& options, int channels) {
  const WeightFile file = WeightFile::open(path);
  DescribedNetwork found = describe_network(file, which);
  Recognized& r = found.network;
  const BackboneConfig config = channels > 0 ? with_channels(r.config, channels) : r.config;
  require_plain_types(r, file.path().string());
  if (!options.allow_missing) require_numbers(r, file.path().string());
  ImportedBackbone imported{make_backbone(config, dtype), {}, {}, std::move(found.facts), std::move(found.input)};
  if (options.allow_missing) imported.backbone->initialize(0);
  imported.report = import_weights(r, file.path().string(), stored_state(*imported.backbone), options);
  r.tensors.clear();
  r.config = config;
  imported.recognized = std::move(r);
  return imported;
}

ImportedBackbone import_backbone(const std::filesystem::path& path, at::ScalarType dtype, const RecognizeOptions& which,
                                 const ImportOptions& options, int channels) {
  FactOptions facts;
  facts.key = which.key;
  facts.user.heads = which.heads;
  facts.user.image_size = which.image_size;
  return import_with_facts(path, dtype, facts, options, channels);
}

}  // namespace dinoxx
