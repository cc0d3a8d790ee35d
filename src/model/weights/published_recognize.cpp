// Which backbone a file of weights holds: found by a tensor that only one naming has, then described by the shapes of its tensors.
#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "backbone_json.hpp"
#include "backbones_in_file.hpp"
#include "base/files.hpp"
#include "dinoxx/base/error.hpp"
#include "model/layers/rope.hpp"
#include "published.hpp"
#include "weights.hpp"

namespace dinoxx {
namespace {

using nlohmann::json;
using Tensors = TensorsByName;
using Kind = BackboneKind;

constexpr const char* kBackboneKey = "dinoxx.backbone";  // metadata of the files that dinoxx writes

/// Shapes of the backbone's tensors by name, with errors that name the file.
class Shapes {
 public:
  Shapes(const Tensors& tensors, std::string source) : tensors_(tensors), source_(std::move(source)) {}
  bool has(const std::string& name) const { return tensors_.contains(name); }
  const std::vector<int64_t>& of(const std::string& name, size_t dims) const {
    const auto entry = tensors_.find(name);
    const bool there = entry != tensors_.end();
    if (there && entry->second->shape.size() == dims &&
        std::all_of(entry->second->shape.begin(), entry->second->shape.end(), [](int64_t n) { return n > 0 && n < (int64_t{1} << 24); }))
      return entry->second->shape;
    fail(source_, fmt::format("\"{}\" with {} dimensions", name, dims),
         there ? fmt::format("shape [{}]", fmt::join(entry->second->shape, ", ")) : "no such tensor",
         "The file is incomplete or of another kind");
  }
  int count(const std::string& format_before, const std::string& after) const {
    int n = 0;
    while (has(fmt::format("{}{}{}", format_before, n, after))) ++n;
    return n;
  }

 private:
  const Tensors& tensors_;
  std::string source_;
};

/// config.json of transformers or timm beside the weights; null when there is none that can be read.
json config_beside(const WeightFile& file) {
  std::ifstream in(file.path().parent_path() / "config.json");
  const json config = in ? json::parse(in, nullptr, /*allow_exceptions=*/false) : json();
  return config.is_object() ? config : json();
}

/// The hidden width by the ratio where that gives it, else itself.
void set_hidden(VitConfig& c, int64_t hidden) {
  for (const double ratio : {4.0, 6.0, 3.0, 3.777777778, 2.0, 8.0}) {
    c.mlp_ratio = ratio;
    for (const int align : {8, 64}) {
      c.ffn_align = align;
      if (c.hidden_dim() == hidden) return;
    }
  }
  c.ffn_align = 8;
  c.mlp_ratio = static_cast<double>(hidden) / c.dim;
  c.ffn_hidden = static_cast<int>(hidden);
}

/// The number of heads by config.json of transformers or of timm.
std::optional<int> heads_beside(const json& config) {
  for (const char* path : {"/num_attention_heads", "/model_args/num_heads"}) {
    const json::json_pointer where(path);
    if (config.contains(where) && config[where].is_number_integer()) return config[where].get<int>();
  }
  return std::nullopt;
}

void set_heads(Recognized& r, VitConfig& c, const RecognizeOptions& options, const json& beside) {
  const auto periods = r.tensors.find("rope_embed.periods");
  if (options.heads) {
    c.heads = *options.heads;
  } else if (periods != r.tensors.end() && periods->second->shape.size() == 1 && periods->second->shape[0] > 0 &&
             c.dim % (4 * periods->second->shape[0]) == 0) {
    c.heads = static_cast<int>(c.dim / (4 * periods->second->shape[0]));
  } else if (const std::optional<int> heads = heads_beside(beside)) {
    c.heads = *heads;
  } else {
    c.heads = std::max(1, c.dim / (c.dim == 4096 ? 128 : 64));
    r.notes.push_back(
        fmt::format("the file does not say the number of heads: {} heads assumed, as published for this width (--heads or --model.heads "
                    "says otherwise)",
                    c.heads));
  }
}

/// Reads the periods of an official DINOv3 file, to see whether they are those of the configuration, exact or rounded to bfloat16.
void set_periods(Recognized& r, VitConfig& c, const std::string& source) {
  const auto entry = r.tensors.find("rope_embed.periods");
  if (entry == r.tensors.end() || !entry->second->has_data() ||
      entry->second->element_count() * 4 != static_cast<uint64_t>(c.dim / c.heads))
    return;
  const at::Tensor stored = read_entry(*entry->second).to(at::kDouble);
  const auto error_of = [&](bool rounded) {
    RopeConfig rope = c.rope;
    rope.bf16_periods = rounded;
    return (stored / rope_periods(rope, c.dim / c.heads) - 1).abs().max().item<double>();
  };
  const double exact_error = error_of(false), rounded_error = error_of(true);
  if (exact_error > 0.01)
    fail(source, fmt::format("rotary periods of base {}", c.rope.base), fmt::format("others, {:.1f} % apart", 100 * exact_error),
         "dinoxx knows these periods by base alone; say which network this is");
  c.rope.bf16_periods = rounded_error < exact_error && rounded_error < 1e-6;
  if (c.rope.bf16_periods)
    r.notes.push_back("rotary periods rounded to bfloat16, as in the file (timm and transformers compute them exactly)");
}

VitConfig vit(Recognized& r, Kind kind, const RecognizeOptions& options, const json& beside, const std::string& source) {
  const Shapes shapes(r.tensors, source);
  const bool official = kind == Kind::kVit;
  VitConfig c;
  const std::string projection = official                         ? "patch_embed.proj.weight"
                                 : kind == Kind::kVitTransformers ? "embeddings.patch_embeddings.projection.weight"
                                                                  : "embeddings.patch_embeddings.weight";
  const std::vector<int64_t>& patch = shapes.of(projection, 4);
  const std::string positions = official ? "pos_embed" : "embeddings.position_embeddings";
  const std::string block = official ? "blocks." : kind == Kind::kVitTransformers ? "encoder.layer." : "layer.";
  const bool v1_transformers = shapes.has(block + "0.layernorm_before.weight");
  const std::string norm = v1_transformers ? ".layernorm_before.weight" : ".norm1.weight";
  c.dim = static_cast<int>(patch[0]);
  c.channels = static_cast<int>(patch[1]);
  c.patch_size = static_cast<int>(patch[2]);
  c.depth = shapes.count(block, norm);
  if (c.depth == 0) fail(source, fmt::format("blocks (\"{}0{}\")", block, norm), "none", "The file is incomplete or of another kind");
  const bool conv = official && shapes.has("patch_embed.stem.0.conv.weight");
  if (conv) {
    c.stem = "conv";
    c.patch_size = 1 << std::min(shapes.count("patch_embed.stem.", ".conv.weight"), 8);
    c.channels = static_cast<int>(shapes.of("patch_embed.stem.0.conv.weight", 4)[1]);
  }

  const std::string b0 = block + "0.";
  const bool learned = shapes.has(positions), eva = official && !learned && shapes.has(b0 + "gamma_1");
  c.layer_scale = shapes.has(b0 + "ls1.gamma") || shapes.has(b0 + "gamma_1") || shapes.has(b0 + "layer_scale1.lambda1") ? 1e-5 : 0;
  for (const char* name : {"register_tokens", "storage_tokens", "reg_token", "embeddings.register_tokens"})
    if (shapes.has(name) && r.tensors.at(name)->element_count() > 0) c.registers = static_cast<int>(shapes.of(name, 3)[1]);
  const bool timm_names = eva || shapes.has("reg_token") ||
                          (official && learned && c.layer_scale > 0 && !shapes.has("mask_token") && !shapes.has("register_tokens"));
  const bool timm_swiglu_v2 = timm_names && !eva && shapes.has(b0 + "mlp.fc1.weight") &&
                              shapes.of(b0 + "mlp.fc1.weight", 2)[0] == 2 * shapes.of(b0 + "mlp.fc2.weight", 2)[1];
  r.naming = !official ? Naming::kTransformers : timm_names ? Naming::kTimm : Naming::kOfficial;
  if (official && !learned && shapes.has("register_tokens")) r.naming = Naming::kDinoxx;
  if (conv) r.naming = Naming::kDinoxx;

  for (const char* w3 : {"mlp.w3.weight", "mlp.weights_out.weight"})
    if (shapes.has(b0 + w3)) c.ffn = "swiglu", set_hidden(c, shapes.of(b0 + w3, 2)[1]);
  if (shapes.has(b0 + "mlp.fc1_g.weight")) c.ffn = "swiglu", set_hidden(c, shapes.of(b0 + "mlp.fc1_g.weight", 2)[0]);
  if (shapes.has(b0 + "mlp.gate_proj.weight")) c.ffn = "swiglu", set_hidden(c, shapes.of(b0 + "mlp.gate_proj.weight", 2)[0]);
  if (timm_swiglu_v2) c.ffn = "swiglu", set_hidden(c, shapes.of(b0 + "mlp.fc2.weight", 2)[1]);
  if (c.ffn == "mlp") {
    for (const char* fc1 : {"mlp.fc1.weight", "intermediate.dense.weight", "mlp.up_proj.weight"})
      if (shapes.has(b0 + fc1)) set_hidden(c, shapes.of(b0 + fc1, 2)[0]);
  }

  // transformers can describe networks that no release has
  const std::string activation =
      beside.contains("hidden_act") && beside["hidden_act"].is_string() ? beside["hidden_act"].get<std::string>() : "";
  if (!activation.empty() && activation != (c.ffn == "swiglu" && !learned ? "silu" : "gelu"))
    fail_usage(source, "the activation of the published networks (gelu; silu in a gated feed-forward part)",
               "\"" + activation + "\" in config.json", "dinoxx has no network with another one");

  const bool v3 = !learned;
  c.positions = v3 ? "rope" : "learned";
  c.qkv_bias = shapes.has(b0 + "attn.qkv.bias") || shapes.has(b0 + "attn.q_bias") || shapes.has(b0 + "attention.attention.query.bias") ||
               shapes.has(b0 + "attention.q_proj.bias");
  c.mask_key_bias = v3 && c.qkv_bias &&
                    (shapes.has(b0 + "attn.qkv.bias_mask") || shapes.has(b0 + "attn.q_bias") || !shapes.has(b0 + "attention.k_proj.bias"));
  if (!v3) c.mask_key_bias = false;
  for (const char* mask : {"mask_token", "embeddings.mask_token"}) c.mask_token |= shapes.has(mask);
  c.untied_cls_norm = shapes.has("cls_norm.weight");
  c.untied_local_cls_norm = shapes.has("local_cls_norm.weight");
  c.norm_eps = v3 ? 1e-5 : 1e-6;
  if (beside.contains("layer_norm_eps") && beside["layer_norm_eps"].is_number()) c.norm_eps = beside["layer_norm_eps"].get<double>();
  if (v1_transformers && !beside.contains("layer_norm_eps")) {
    c.norm_eps = 1e-12;
    r.notes.push_back("no config.json: LayerNorm epsilon 1e-12 assumed, as ViTModel has it");
  }
  c.drop_path_rule = c.layer_scale > 0 ? "uniform" : "linear";
  c.drop_path_form = c.layer_scale > 0 ? "subset" : "mask";
  r.style = v3 ? "dinov3" : c.registers > 0 ? "dinov2_reg" : c.layer_scale > 0 ? "dinov2" : "dino";

  if (learned) {
    const bool without_cls = r.naming == Naming::kTimm && c.registers > 0;
    const int64_t cells = shapes.of(positions, 3)[1] - (without_cls ? 0 : 1);
    const auto side = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(std::max<int64_t>(cells, 0)))));
    if (side < 1 || side * side != cells)
      fail(source, fmt::format("positions of a square grid in \"{}\"", positions), fmt::format("{} of them", cells),
           "The file is of another kind");
    c.image_size = static_cast<int>(side) * c.patch_size;
    // each system resizes positions in its own way; the naming says whose features the file is meant to give
    c.position_offset = r.naming == Naming::kOfficial && c.registers == 0 ? 0.1 : 0;
    c.position_antialias = r.naming == Naming::kTimm || c.registers > 0;
    if (r.naming == Naming::kDinoxx) c.position_offset = c.registers == 0 ? 0.1 : 0;
  } else {
    c.image_size = options.image_size.value_or(224) / c.patch_size * c.patch_size;
    if (beside.contains("rope_theta") && beside["rope_theta"].is_number()) c.rope.base = beside["rope_theta"].get<double>();
  }
  set_heads(r, c, options, beside);
  if (v3) set_periods(r, c, source);
  check_vit_config(c);
  return c;
}

ConvNextConfig convnext(Recognized& r, Kind kind, const std::string& source) {
  const Shapes shapes(r.tensors, source);
  ConvNextConfig c;
  r.style = "convnext";
  r.naming = kind == Kind::kConvNext ? Naming::kOfficial : kind == Kind::kConvNextTimm ? Naming::kTimm : Naming::kTransformers;
  const char* block = kind == Kind::kConvNext ? "stages.{}." : kind == Kind::kConvNextTimm ? "stages.{}.blocks." : "stages.{}.layers.";
  const char* conv = kind == Kind::kConvNext       ? ".dwconv.weight"
                     : kind == Kind::kConvNextTimm ? ".conv_dw.weight"
                                                   : ".depthwise_conv.weight";
  for (size_t i = 0; i < 4; ++i) {
    const std::string prefix = fmt::format(fmt::runtime(block), i);
    c.depths[i] = shapes.count(prefix, conv);
    c.dims[i] = static_cast<int>(shapes.of(prefix + "0" + conv, 4)[0]);
  }
  const std::string stem = kind == Kind::kConvNext       ? "downsample_layers.0.0.weight"
                           : kind == Kind::kConvNextTimm ? "stem.0.weight"
                                                         : "stages.0.downsample_layers.0.weight";
  c.channels = static_cast<int>(shapes.of(stem, 4)[1]);
  return c;
}

ResNetConfig resnet(Recognized& r, const std::string& source) {
  const Shapes shapes(r.tensors, source);
  ResNetConfig c;
  r.style = "resnet";
  r.naming = Naming::kOfficial;
  c.bottleneck = shapes.has("layer1.0.conv3.weight");
  for (size_t i = 0; i < 4; ++i) {
    c.depths[i] = shapes.count(fmt::format("layer{}.", i + 1), ".conv1.weight");
    if (c.depths[i] == 0) fail(source, fmt::format("blocks of stage {}", i + 1), "none", "The file is incomplete or of another kind");
  }
  const std::vector<int64_t>& stem = shapes.of("conv1.weight", 4);
  c.width = static_cast<int>(stem[0]);
  c.channels = static_cast<int>(stem[1]);
  c.small_image_stem = stem[2] == 3;
  return c;
}

/// What the reader of a result should know about the rest of the file.
void note_what_is_left(Recognized& r, const WeightFile& file, const std::string& key) {
  if (!r.others.empty() && key.empty())
    r.notes.push_back(fmt::format(
        "of several backbones the one under \"{}\" is taken; the others: \"{}\" (dinoxx weights import --key PREFIX takes one of them out)",
        r.prefix, fmt::join(r.others, "\", \"")));
  r.unread = file.unread();
  if (r.unread.empty()) return;
  const std::vector<std::string>& unread = r.unread;
  constexpr size_t kShown = 4;
  const std::vector<std::string> head(unread.begin(), unread.begin() + static_cast<std::ptrdiff_t>(std::min(unread.size(), kShown)));
  r.notes.push_back(fmt::format("objects of unknown classes, which no tensor needs, were left unread: {}{}", fmt::join(head, ", "),
                                unread.size() > kShown ? fmt::format(" and {} more", unread.size() - kShown) : ""));
}

}  // namespace

Recognized recognize(const WeightFile& file, const RecognizeOptions& options) {
  const std::string source = file.path().string();
  const Tensors all = unwrapped_tensors(file);
  const std::vector<FoundBackbone> found = backbones_in(all, file);
  const FoundBackbone chosen = chosen_backbone(found, options.key, source);
  Recognized r;
  r.prefix = chosen.prefix;
  for (const FoundBackbone& f : found)
    if (f.prefix != chosen.prefix) r.others.push_back(f.prefix);
  r.tensors = tensors_of(chosen, all);
  note_what_is_left(r, file, options.key);

  const json& metadata = file.settings();
  if (metadata.is_object() && metadata.contains(kBackboneKey) && metadata[kBackboneKey].is_string()) {
    r.config = backbone_from_json(json::parse(metadata[kBackboneKey].get<std::string>(), nullptr, false), source);
    r.naming = Naming::kDinoxx;
    r.style = "dinoxx";
    return r;
  }
  const json beside = config_beside(file);
  switch (chosen.kind) {
    case Kind::kVit:
    case Kind::kVitTransformers:
    case Kind::kVit3Transformers:
      r.config = vit(r, chosen.kind, options, beside, source);
      break;
    case Kind::kConvNext:
    case Kind::kConvNextTimm:
    case Kind::kConvNextTransformers:
      r.config = convnext(r, chosen.kind, source);
      break;
    case Kind::kResNet:
      r.config = resnet(r, source);
      break;
  }
  return r;
}

}  // namespace dinoxx
