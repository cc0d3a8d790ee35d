#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "dinoxx/base/error.hpp"
#include "published.hpp"

namespace dinoxx {
namespace {

using Shape = std::vector<int64_t>;

int64_t elements(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

StoredTensor same(const NamedShape& ours, std::string name) {
  return {ours, {{std::move(name), ours.shape}}};
}

/// ours cut into equal runs of rows, one for each name.
StoredTensor rows(const NamedShape& ours, const std::vector<std::string>& names) {
  StoredTensor stored{ours, {}};
  Shape shape = ours.shape;
  shape[0] /= static_cast<int64_t>(names.size());
  for (const std::string& name : names) stored.parts.push_back({name, shape});
  return stored;
}

/// "blocks.12.attn.qkv.weight" -> {"12", "attn.qkv.weight"}; nothing for a name outside the blocks.
std::optional<std::pair<std::string, std::string>> block_name(const std::string& name) {
  constexpr std::string_view kBlocks = "blocks.";
  if (!name.starts_with(kBlocks)) return std::nullopt;
  const size_t dot = name.find('.', kBlocks.size());
  return std::pair(name.substr(kBlocks.size(), dot - kBlocks.size()), name.substr(dot + 1));
}

std::string ending(const std::string& name) {  // ".weight", ".bias", or nothing
  const size_t dot = name.rfind('.');
  return dot == std::string::npos ? "" : name.substr(dot);
}

[[noreturn]] void no_such_network(Naming naming, const std::string& what) {
  fail_usage(fmt::format("naming {}", naming_name(naming)), "a network that has names there", what,
             "Choose another naming (dinoxx has names for all)");
}

enum class Style { kV1, kV2, kV3 };
Style style_of(const VitConfig& c) {
  if (c.positions == "rope") return Style::kV3;
  return c.layer_scale > 0 || c.registers > 0 ? Style::kV2 : Style::kV1;  // iBOT is v1 with a mask token
}

// facebookresearch/dino, dinov2, dinov3
StoredTensor official(const VitConfig& c, const NamedShape& t) {
  const bool v3 = style_of(c) == Style::kV3;
  if (v3 && t.name == "register_tokens") return same(t, "storage_tokens");
  const auto block = block_name(t.name);
  if (v3 && block && block->second.starts_with("mlp.w12")) {
    const std::string mlp = "blocks." + block->first + ".mlp.";
    return rows(t, {mlp + "w1" + ending(t.name), mlp + "w2" + ending(t.name)});
  }
  return same(t, t.name);
}

// timm/models/vision_transformer.py (v1, v2), timm/models/eva.py (v3)
StoredTensor timm(const VitConfig& c, const NamedShape& t) {
  const bool v3 = style_of(c) == Style::kV3, with_registers = c.registers > 0;
  const Shape& shape = t.shape;
  if (t.name == "mask_token") return {t, {{"", shape}}};
  if (t.name == "register_tokens") return same(t, "reg_token");
  if (!v3 && with_registers && t.name == "cls_token") {
    StoredTensor stored = same(t, t.name);
    stored.with_position = true;
    return stored;
  }
  if (!v3 && with_registers && t.name == "pos_embed") return {t, {{"", {1, 1, shape[2]}}, {t.name, {1, shape[1] - 1, shape[2]}}}};
  const auto block = block_name(t.name);
  if (!block) {
    if (t.name.starts_with("cls_norm") || t.name.starts_with("local_cls_norm")) return {t, {{"", shape}}};
    return same(t, t.name);
  }
  const std::string prefix = "blocks." + block->first + ".", end = ending(t.name);
  const std::string& rest = block->second;
  if (rest.starts_with("mlp.w3")) return same(t, prefix + "mlp.fc2" + end);
  if (!v3) return same(t, rest.starts_with("mlp.w12") ? prefix + "mlp.fc1" + end : t.name);
  if (rest.starts_with("mlp.w12")) return rows(t, {prefix + "mlp.fc1_g" + end, prefix + "mlp.fc1_x" + end});
  if (rest == "ls1.gamma") return same(t, prefix + "gamma_1");
  if (rest == "ls2.gamma") return same(t, prefix + "gamma_2");
  if (rest == "attn.qkv.bias") return rows(t, {prefix + "attn.q_bias", "", prefix + "attn.v_bias"});
  return same(t, t.name);
}

// transformers: ViTModel, Dinov2Model, Dinov2WithRegistersModel, DINOv3ViTModel; names of the files, which differ from those in memory
StoredTensor transformers(const VitConfig& c, const NamedShape& t) {
  const Style style = style_of(c);
  const bool v1 = style == Style::kV1, v3 = style == Style::kV3;
  const std::string& name = t.name;
  const std::string end = ending(name);
  if (name == "cls_token" || name == "register_tokens") return same(t, "embeddings." + name);
  if (name == "mask_token") return {t, {{"embeddings.mask_token", v1 || v3 ? Shape{1, 1, t.shape[1]} : t.shape}}};
  if (name == "pos_embed") return same(t, "embeddings.position_embeddings");
  if (name.starts_with("patch_embed.proj"))
    return same(t, (v3 ? "embeddings.patch_embeddings" : "embeddings.patch_embeddings.projection") + end);
  if (name.starts_with("norm.")) return same(t, (v3 ? "norm" : "layernorm") + end);
  const auto block = block_name(name);
  if (!block) {
    if (name.starts_with("local_cls_norm") || name.starts_with("cls_norm")) return {t, {{"", t.shape}}};
    no_such_network(Naming::kTransformers, "a tensor \"" + name + "\"");
  }
  const std::string prefix = (v3 ? "layer." : "encoder.layer.") + block->first + ".";
  const std::string part = block->second.substr(0, block->second.rfind('.'));
  if (part == "norm1") return same(t, prefix + (v1 ? "layernorm_before" : "norm1") + end);
  if (part == "norm2") return same(t, prefix + (v1 ? "layernorm_after" : "norm2") + end);
  if (part == "ls1" || part == "ls2") return same(t, prefix + (part == "ls1" ? "layer_scale1" : "layer_scale2") + ".lambda1");
  if (part == "attn.qkv") {
    if (!v3) {
      const std::string a = prefix + "attention.attention.";
      return rows(t, {a + "query" + end, a + "key" + end, a + "value" + end});
    }
    const std::string a = prefix + "attention.";
    return rows(t, {a + "q_proj" + end, end == ".bias" && c.mask_key_bias ? "" : a + "k_proj" + end, a + "v_proj" + end});
  }
  if (part == "attn.proj") return same(t, prefix + (v3 ? "attention.o_proj" : "attention.output.dense") + end);
  if (part == "mlp.fc1") return same(t, prefix + (v1 ? "intermediate.dense" : v3 ? "mlp.up_proj" : "mlp.fc1") + end);
  if (part == "mlp.fc2") return same(t, prefix + (v1 ? "output.dense" : v3 ? "mlp.down_proj" : "mlp.fc2") + end);
  if (v1) no_such_network(Naming::kTransformers, "SwiGLU in a network of DINO v1's style");
  if (part == "mlp.w12")
    return v3 ? rows(t, {prefix + "mlp.gate_proj" + end, prefix + "mlp.up_proj" + end}) : same(t, prefix + "mlp.weights_in" + end);
  return same(t, prefix + (v3 ? "mlp.down_proj" : "mlp.weights_out") + end);
}

/// The three naming schemes of ConvNeXt differ in words alone. ours: downsample_layers.i.{0,1}.*, stages.i.j.*, norm.*
std::string convnext_name(Naming naming, const std::string& name) {
  if (naming == Naming::kOfficial || naming == Naming::kDinoxx) return name;
  const bool timm = naming == Naming::kTimm;
  if (name.starts_with("norm.")) return (timm ? "head.norm" : "layer_norm") + ending(name);
  std::vector<std::string> words;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t dot = std::min(name.find('.', begin), name.size());
    words.push_back(name.substr(begin, dot - begin));
    begin = dot + 1;
  }
  if (words[0] == "downsample_layers") {
    if (!timm) return fmt::format("stages.{}.downsample_layers.{}.{}", words[1], words[2], words[3]);
    return words[1] == "0" ? fmt::format("stem.{}.{}", words[2], words[3])
                           : fmt::format("stages.{}.downsample.{}.{}", words[1], words[2], words[3]);
  }
  static const std::map<std::string, std::pair<const char*, const char*>> kParts{{"gamma", {"gamma", "gamma"}},
                                                                                 {"dwconv", {"conv_dw", "depthwise_conv"}},
                                                                                 {"norm", {"norm", "layer_norm"}},
                                                                                 {"pwconv1", {"mlp.fc1", "pointwise_conv1"}},
                                                                                 {"pwconv2", {"mlp.fc2", "pointwise_conv2"}}};
  const auto& [in_timm, in_transformers] = kParts.at(words[3]);
  const std::string end = words.size() > 4 ? "." + words[4] : "";
  return fmt::format("stages.{}.{}.{}.{}{}", words[1], timm ? "blocks" : "layers", words[2], timm ? in_timm : in_transformers, end);
}

}  // namespace

std::string_view naming_name(Naming naming) {
  switch (naming) {
    case Naming::kDinoxx:
      return "dinoxx";
    case Naming::kOfficial:
      return "official";
    case Naming::kTimm:
      return "timm";
    case Naming::kTransformers:
      return "transformers";
  }
  return "";
}

Naming naming_from_name(const std::string& name) {
  std::vector<std::string> names;
  for (const Naming naming : {Naming::kDinoxx, Naming::kOfficial, Naming::kTimm, Naming::kTransformers}) {
    if (name == naming_name(naming)) return naming;
    names.emplace_back(naming_name(naming));
  }
  const std::string near = nearest_name(name, names);
  fail_usage("naming", fmt::format("one of {}", fmt::join(names, ", ")), fmt::format("\"{}\"", name),
             near.empty() ? std::string("Choose one of them") : fmt::format("Did you mean {}?", near));
}

std::string describe(const BackboneConfig& config) {
  if (const auto* vit = std::get_if<VitConfig>(&config)) {
    return fmt::format("vision transformer, width {}, {} blocks, {} heads, patch {}, {} positions{}{}{}{}{}", vit->dim, vit->depth,
                       vit->heads, vit->patch_size, vit->positions == "rope" ? "rotary" : "learned",
                       vit->registers > 0 ? fmt::format(", {} registers", vit->registers) : "", vit->layer_scale > 0 ? ", LayerScale" : "",
                       vit->ffn == "swiglu" ? ", SwiGLU" : "", vit->stem == "conv" ? ", convolutional stem" : "",
                       vit->final_norm ? "" : ", no final norm");
  }
  if (const auto* convnext = std::get_if<ConvNextConfig>(&config))
    return fmt::format("ConvNeXt, widths {}, blocks {}", fmt::join(convnext->dims, " "), fmt::join(convnext->depths, " "));
  const auto& resnet = std::get<ResNetConfig>(config);
  return fmt::format("ResNet, blocks {}, {}, {} features{}", fmt::join(resnet.depths, " "),
                     resnet.bottleneck ? "bottlenecks" : "two 3x3 each", resnet.feature_dim(),
                     resnet.small_image_stem ? ", stem for small images" : "");
}

std::vector<StoredTensor> stored_tensors(Naming naming, const BackboneConfig& config, const std::vector<NamedShape>& ours) {
  std::vector<StoredTensor> all;
  const auto* vit = std::get_if<VitConfig>(&config);
  if (vit && vit->stem == "conv" && naming != Naming::kDinoxx) no_such_network(naming, "a convolutional stem");
  if (vit && !vit->final_norm && (naming == Naming::kOfficial || naming == Naming::kTransformers))
    no_such_network(naming, "a network without a final norm");
  const bool convnext = std::holds_alternative<ConvNextConfig>(config);
  for (const NamedShape& t : ours) {
    if (vit && naming == Naming::kOfficial)
      all.push_back(official(*vit, t));
    else if (vit && naming == Naming::kTimm)
      all.push_back(timm(*vit, t));
    else if (vit && naming == Naming::kTransformers)
      all.push_back(transformers(*vit, t));
    else if (convnext)
      all.push_back(same(t, convnext_name(naming, t.name)));
    else
      all.push_back(same(t, t.name));  // ResNet has one naming everywhere but in transformers
  }
  if (std::holds_alternative<ResNetConfig>(config) && naming == Naming::kTransformers) no_such_network(naming, "a ResNet");
  for (const StoredTensor& stored : all) {
    int64_t sum = 0;
    for (const StoredPart& part : stored.parts) sum += elements(part.shape);
    if (sum != elements(stored.ours.shape))
      fail("names of " + stored.ours.name, fmt::format("{} elements", elements(stored.ours.shape)), std::to_string(sum),
           "This is a defect of the program");
  }
  return all;
}

std::optional<std::string> known_extra(const std::string& name) {
  if (name.ends_with("attn.qkv.bias_mask")) return "mask of the keys' bias, part of the architecture";
  if (name == "rope_embed.periods") return "rotary periods, part of the architecture";
  if (name == "mask_token" || name == "embeddings.mask_token") return "mask token, which this network does not use";
  if (name.starts_with("norms.")) return "norms of the stages, of which the last is the final norm";
  for (const char* head :
       {"head.", "fc.", "linear.", "classifier.", "pooler.", "dino_head.", "ibot_head.", "head_drop.", "linear_head.", "projectors."})
    if (name.starts_with(head)) return "head";
  return std::nullopt;
}

}  // namespace dinoxx
