// Which backbone a file of weights holds: found by a tensor that only one naming has, then described by the shapes of its tensors.
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "backbone_json.hpp"
#include "backbones_in_file.hpp"
#include "base/files.hpp"
#include "dinoxx/base/error.hpp"
#include "facts.hpp"
#include "published.hpp"

namespace dinoxx {
namespace {

using nlohmann::json;
using Tensors = TensorsByName;
using Kind = BackboneKind;

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

VitConfig vit(Recognized& r, Kind kind, const FactOptions& options, const std::string& source) {
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

  const bool v3 = !learned;
  c.positions = v3 ? "rope" : "learned";
  c.qkv_bias = shapes.has(b0 + "attn.qkv.bias") || shapes.has(b0 + "attn.q_bias") || shapes.has(b0 + "attention.attention.query.bias") ||
               shapes.has(b0 + "attention.q_proj.bias");
  // official: the mask is a tensor; transformers: the keys' bias is absent or counts; timm has none, dinoxx's style masks it
  const bool keys_count = r.naming == Naming::kTransformers ? shapes.has(b0 + "attention.k_proj.bias")
                                                            : r.naming == Naming::kOfficial && !shapes.has(b0 + "attn.qkv.bias_mask");
  c.mask_key_bias = v3 && c.qkv_bias && !keys_count;
  for (const char* mask : {"mask_token", "embeddings.mask_token"}) c.mask_token |= shapes.has(mask);
  // timm/models/vision_transformer.py, vit_*_radio_*: the one network with registers and without a final norm
  if (timm_names && learned && c.registers > 0)
    c.final_norm = shapes.has("norm.weight") || shapes.has("norm.bias") || shapes.has("fc_norm.weight");
  if (!c.final_norm) r.notes.emplace_back("no final norm, as in C-RADIO: features are what stands behind the last block");
  c.untied_cls_norm = shapes.has("cls_norm.weight");
  c.untied_local_cls_norm = shapes.has("local_cls_norm.weight");
  c.norm_eps = v3 ? 1e-5 : 1e-6;
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
    c.image_size = options.user.image_size.value_or(224) / c.patch_size * c.patch_size;
  }
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
  r.notes.push_back(fmt::format("objects of unknown classes were left unread: {}{}", fmt::join(head, ", "),
                                unread.size() > kShown ? fmt::format(" and {} more", unread.size() - kShown) : ""));
}

BackboneConfig described(Recognized& r, Kind kind, const FactOptions& options, const std::string& source) {
  switch (kind) {
    case Kind::kVit:
    case Kind::kVitTransformers:
    case Kind::kVit3Transformers:
      return vit(r, kind, options, source);
    case Kind::kConvNext:
    case Kind::kConvNextTimm:
    case Kind::kConvNextTransformers:
      return convnext(r, kind, source);
    case Kind::kResNet:
      break;
  }
  return resnet(r, source);
}

}  // namespace

DescribedNetwork describe_network(const WeightFile& file, const FactOptions& options) {
  const std::string source = file.path().string();
  const Tensors all = unwrapped_tensors(file);
  const std::vector<FoundBackbone> found = backbones_in(all, file);
  const FoundBackbone chosen = chosen_backbone(found, options.key, source);
  DescribedNetwork described_network{{}, {}, {{imagenet_normalization(), ""}}};
  Recognized& r = described_network.network;
  r.prefix = chosen.prefix;
  for (const FoundBackbone& f : found)
    if (f.prefix != chosen.prefix) r.others.push_back(f.prefix);
  r.tensors = tensors_of(chosen, all);
  note_what_is_left(r, file, options.key);

  const json& metadata = file.settings();
  const auto text_of = [&](const char* key) -> const std::string* {
    if (!metadata.is_object() || !metadata.contains(key) || !metadata[key].is_string()) return nullptr;
    return metadata[key].get_ptr<const std::string*>();
  };
  FactSource own{"the file's metadata", {}}, tensors{"tensors of the file", {}};
  if (const std::string* text = text_of(kFactsKey)) own.says = facts_from_json(json::parse(*text, nullptr, false), source);
  if (const std::string* text = text_of(kNormalizationKey)) {
    const Normalization normalization = parse_normalization(*text, source);
    own.says.mean = normalization.mean;
    own.says.std = normalization.std;
  }
  std::vector<FactSource> sources;
  std::vector<std::string> notes;
  if (const std::string* text = text_of(kBackboneKey)) {
    r.config = backbone_from_json(json::parse(*text, nullptr, false), source);
    r.naming = Naming::kDinoxx;
    r.style = "dinoxx";
    sources = {own, {own.name, stated_facts(r.config)}};
  } else {
    r.config = described(r, chosen.kind, options, source);
    if (auto* c = std::get_if<VitConfig>(&r.config)) {
      const bool rope = c->positions == "rope";
      if (rope) tensors.says = said_by_periods(r.tensors, *c, source);
      // a file under official names may have lost its mask
      const bool open = rope && (r.naming == Naming::kDinoxx || (r.naming == Naming::kOfficial && !c->mask_key_bias));
      if (!open || !c->qkv_bias) tensors.says.qkv_bias = stated_facts(*c).qkv_bias;
    }
    const std::string part = "backbone.";
    if (std::holds_alternative<ResNetConfig>(r.config) && r.prefix.ends_with(part) &&
        all.contains(r.prefix.substr(0, r.prefix.size() - part.size()) + "classifier.weight")) {
      tensors.name = "solo-learn's names";  // a linear classifier beside the backbone; its stem for CIFAR pads by 2 (solo/methods/base.py)
      tensors.says.stem_padding = 2;
    }
    sources = {own, tensors};
    for (FactSource& beside : facts_beside(file, r.config, notes)) sources.push_back(std::move(beside));
  }
  sources.insert(sources.end(), options.sources.begin(), options.sources.end());
  FactLedger ledger(source, std::move(sources), options);
  settle_network(r.config, ledger, r);
  if (const auto* c = std::get_if<VitConfig>(&r.config)) {
    check_vit_config(*c);
    if (c->rope.bf16_periods && r.naming != Naming::kDinoxx)
      ledger.note("rotary periods rounded to bfloat16, as in the file (timm and transformers compute them exactly)");
  }
  described_network.input = settle_input(r.config, ledger);
  described_network.facts = ledger.facts();
  r.notes.insert(r.notes.end(), notes.begin(), notes.end());
  r.notes.insert(r.notes.end(), ledger.notes().begin(), ledger.notes().end());
  return described_network;
}

Recognized recognize(const WeightFile& file, const RecognizeOptions& options) {
  FactOptions facts;
  facts.key = options.key;
  facts.user.heads = options.heads;
  facts.user.image_size = options.image_size;
  return describe_network(file, facts).network;
}

}  // namespace dinoxx
