#include "follow_weights.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "config/architectures.hpp"
#include "config/config_fields.hpp"
#include "config/model_keys.hpp"
#include "config/vit_config.hpp"
#include "data_pipeline/augment/views_config.hpp"
#include "dinoxx/base/error.hpp"
#include "loss/gram_config.hpp"
#include "method/settings/own_config.hpp"
#include "method/settings/resolve.hpp"
#include "method/settings/unread_keys.hpp"
#include "model/model_config.hpp"
#include "model/weights/facts.hpp"
#include "other_weights.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;

/// Keys that describe a network; those that say how it is trained stay the configuration's.
constexpr const char* kNetworkKeys[] = {"model.arch",       "model.style",        "model.dim",          "model.depth",
                                        "model.heads",      "model.mlp_ratio",    "model.registers",    "model.patch_size",
                                        "model.stem",       "model.norm_eps",     "model.qkv_bias",     "model.position_resize",
                                        "model.rope_base",  "model.rope_periods", "model.stem_padding", "model.image_size",
                                        "model.activation", "model.mean",         "model.std"};
constexpr const char* kSizeKeys[] = {"views.global_size", "views.local_size", "gram.size", "views.sizes"};

const Field& field_of(const std::string& key) {
  const auto& fields = config_fields();
  return *std::find_if(fields.begin(), fields.end(), [&](const Field& field) { return field.key == key; });
}

bool same_shapes(VitConfig a, VitConfig b) {
  a.mask_token = b.mask_token = false;
  a.untied_local_cls_norm = b.untied_local_cls_norm = false;
  a.channels = b.channels;  // adapted by the load
  const std::vector<NamedShape> first = vit_parameters(a), second = vit_parameters(b);
  return std::equal(first.begin(), first.end(), second.begin(), second.end(),
                    [](const NamedShape& x, const NamedShape& y) { return x.name == y.name && x.shape == y.shape; });
}

/// Sets what the architecture by name and these keys make of a network like `wanted`; false where they make another.
bool try_architecture(const std::string& arch, const std::string& style, const VitConfig& wanted, ModelConfig& model) {
  VitConfig c = vit_config(arch, style);
  const double published = c.mlp_ratio;
  c.dim = wanted.dim;
  c.depth = wanted.depth;
  c.patch_size = wanted.patch_size;
  c.image_size = wanted.image_size;
  c.registers = wanted.registers;
  c.stem = wanted.stem;
  c.qkv_bias = wanted.qkv_bias;
  const int hidden = wanted.hidden_dim();
  bool fits = false;
  for (const double ratio : {published, wanted.mlp_ratio, static_cast<double>(hidden) / c.dim, 1.5 * hidden / c.dim}) {
    c.mlp_ratio = ratio;
    fits = c.hidden_dim() == hidden;
    if (fits) break;
  }
  if (!fits || !same_shapes(c, wanted)) return false;
  model.arch = arch;
  model.style = style;
  model.dim = c.dim;
  model.depth = c.depth;
  model.mlp_ratio = c.mlp_ratio;
  model.registers = c.registers;
  model.patch_size = c.patch_size;
  model.image_size.reset();
  if (c.positions == "learned") model.image_size = c.image_size;
  model.stem = c.stem;
  return true;
}

[[noreturn]] void no_keys(const fs::path& path, const BackboneConfig& config) {
  fail_usage("model.init_from", "a network that the keys of [model] can state", describe(config) + " in " + path.string(),
             "It can be evaluated (dinoxx eval --checkpoint) and exported, not trained");
}

/// The keys of a network like the file's; the configuration's own architecture where that fits.
ModelConfig keys_of(const Recognized& found, const Config& config, const fs::path& path) {
  ModelConfig model = *config.model;
  if (const auto* vit = std::get_if<VitConfig>(&found.config)) {
    std::string style = "dinov2";
    if (vit->registers > 0) style = "dinov2_reg";
    if (vit->layer_scale <= 0) style = "dino";
    if (vit->rope.min_period) no_keys(path, found.config);
    if (vit->positions == "rope") style = "dinov3";
    std::vector<std::string> archs = vit_archs();
    std::stable_partition(archs.begin(), archs.end(), [&](const std::string& arch) {
      // of the file's size first, and of these the configuration's own
      return vit_config(arch, style).dim == vit->dim && vit_config(arch, style).depth == vit->depth;
    });
    std::stable_partition(archs.begin(), archs.end(), [&](const std::string& arch) { return arch == model.arch; });
    if (!std::any_of(archs.begin(), archs.end(), [&](const std::string& arch) { return try_architecture(arch, style, *vit, model); }))
      no_keys(path, found.config);
    model.heads = vit->heads;
    const FactValues facts = stated_facts(found.config);
    model.qkv_bias = *facts.qkv_bias;
    model.rope_periods = facts.rope_periods.value_or("auto");
    model.position_resize = facts.position_resize.value_or("auto");
    model.rope_base.reset();
    if (facts.rope_base) model.rope_base = *facts.rope_base;
    model.norm_eps = vit->norm_eps;
    model.activation = activation_of(found.config);
    return model;
  }
  std::vector<std::string> same;
  for (const std::string& arch : architectures()) {
    if (const auto* c = std::get_if<ConvNextConfig>(&found.config); c && family_of(arch) == Family::kConvNext)
      if (const ConvNextConfig known = convnext_config(arch); known.depths == c->depths && known.dims == c->dims) same.push_back(arch);
    if (const auto* c = std::get_if<ResNetConfig>(&found.config); c && family_of(arch) == Family::kResNet)
      if (const ResNetConfig known = resnet_config(arch); known.depths == c->depths && known.bottleneck == c->bottleneck)
        same.push_back(arch);
  }
  const auto* resnet = std::get_if<ResNetConfig>(&found.config);
  const bool even = resnet && std::set(resnet->depths.begin(), resnet->depths.end()).size() == 1;
  if (same.empty() && even) same.push_back(resnet->bottleneck ? "resnet50" : "resnet18");  // and model.depth
  if (same.empty()) no_keys(path, found.config);
  // what only vision transformers have is as if nobody had said it
  for (const char* key : kNetworkKeys) {
    Config open = config;
    *open.model = model;
    field_of(key).set(open, field_of(key).default_text);
    model = *open.model;
  }
  model.activation = activation_of(found.config);
  model.mean = config.model->mean;
  model.std = config.model->std;
  model.arch = same.front();
  if (const auto* convnext = std::get_if<ConvNextConfig>(&found.config)) model.norm_eps = convnext->norm_eps;
  if (resnet) {
    const ResNetConfig known = resnet_config(model.arch);
    if (known.width != resnet->width) model.dim = resnet->feature_dim();
    if (known.depths != resnet->depths) model.depth = 4 * resnet->depths[0];
    model.stem = resnet->small_image_stem ? "small" : "large";
    if (resnet->small_image_stem) model.stem_padding = resnet->stem_padding;
  }
  return model;
}

int64_t multiple_of(int64_t size, int64_t patch) {
  return std::max<int64_t>(1, std::llround(static_cast<double>(size) / static_cast<double>(patch))) * patch;
}

void fit_crops(Config& config, int64_t patch) {
  config.views->global_size = multiple_of(config.views->global_size, patch);
  if (config.views->local_size > 0) config.views->local_size = multiple_of(config.views->local_size, patch);
  if (config.gram->size > 0) config.gram->size = multiple_of(config.gram->size, patch);
  for (ViewSizes& sizes : config.views->sizes) {
    sizes.global = multiple_of(sizes.global, patch);
    if (sizes.local > 0) sizes.local = multiple_of(sizes.local, patch);
    if (sizes.gram > 0) sizes.gram = multiple_of(sizes.gram, patch);
  }
}

/// The values of `from` for these keys, but the typed. Gives back "model.patch_size = 14 (8 in the configuration)" of each that would have
/// been another one.
template <class Keys>
std::vector<std::string> take(Config& config, const Config& from, const Keys& keys, const std::set<std::string>& typed) {
  const Config otherwise = settled(config), now = settled(from);
  std::vector<std::string> changes;
  for (const char* key : keys) {
    if (typed.contains(key)) continue;
    const Field& field = field_of(key);
    const std::string before = field.get(config), after = field.get(from);
    const bool read = !why_unread(field, now);
    if (read || after == field.default_text) field.set(config, after);
    if (!read || field.get(otherwise) == field.get(now)) continue;
    const bool stated = before != "auto" && before != field.default_text;
    changes.push_back(fmt::format("{} = {}{}", key, field.get(now), stated ? fmt::format(" ({} in the configuration)", before) : ""));
  }
  return changes;
}

/// A typed name stands for the sizes that it means.
std::set<std::string> with_meaning(std::set<std::string> typed, const ModelConfig& model) {
  if (typed.contains("model.arch")) {
    if (!model.dim) typed.insert("model.dim");
    if (!model.depth) typed.insert("model.depth");
    if (!model.mlp_ratio) typed.insert("model.mlp_ratio");
  }
  if (typed.contains("model.style") && !model.registers) typed.insert("model.registers");
  return typed;
}

FactOptions what_the_user_says(const Config& config, const std::set<std::string>& typed, const WeightFile& file) {
  FactOptions which;
  Config said = config, otherwise = config;
  for (const std::string& key : fact_keys()) {
    Config& other = typed.contains(key) ? otherwise : said;
    field_of(key).set(other, field_of(key).default_text);
  }
  which.user = model_facts(said);
  which.otherwise = model_facts(otherwise);
  which.otherwise.mean = which.otherwise.std = std::nullopt;
  which.sources = said_by_training(file);
  return which;
}

}  // namespace

std::vector<std::string> follow_weights(Config& config, const std::set<std::string>& words, const Config* saved) {
  if (config.model->init_from.empty()) return {};
  if (saved && saved->model->init_from != config.model->init_from) return {};  // it began with something else, and that is long ago
  const std::set<std::string> typed = with_meaning(words, *config.model);
  Config following = config;
  std::string source;
  std::vector<std::string> lines;
  if (saved) {
    *following.model = *saved->model;
  } else {
    const fs::path path = weight_path("model.init_from", config.model->init_from);
    const WeightFile file = WeightFile::open(path);
    const DescribedNetwork found = describe_network(file, what_the_user_says(config, typed, file));
    *following.model = keys_of(found.network, config, path);
    lines.push_back("facts of the weights: " + facts_text(describe(found.facts)));
    for (const Fact& fact : found.facts)
      if (fact.assumed)
        lines.push_back(
            fmt::format("note: {} {} of the weights is assumed, no file says it; model.{} sets it", fact.name, fact.value, fact.name));
    if (const Auto<int64_t> stated = config.model->image_size;
        stated && following.model->image_size && *stated % following.model->patch_size == 0)
      following.model->image_size = stated;  // the load resizes the positions
    if (!found.input.normalization.assumed) {
      following.model->mean = channels_text(found.input.normalization.values.mean);
      following.model->std = channels_text(found.input.normalization.values.std);
    }
    source = path.string();
  }
  const ModelConfig& model = *following.model;
  if (family_of(model.arch) == Family::kVit && model.patch_size != config.model->patch_size && !typed.contains("model.patch_size") &&
      config.model->fit == "error")
    fit_crops(following, model.patch_size);
  std::vector<std::string> changes = take(config, following, kNetworkKeys, typed);
  for (std::string& change : take(config, following, kSizeKeys, typed)) changes.push_back(std::move(change));
  if (!changes.empty() && !saved) lines.insert(lines.begin(), fmt::format("{} (as the weights in {})", fmt::join(changes, ", "), source));
  return lines;
}

}  // namespace dinoxx
