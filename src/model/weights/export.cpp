#include <ATen/ATen.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "backbone_json.hpp"
#include "base/files.hpp"
#include "base/json_text.hpp"
#include "dinoxx/base/error.hpp"
#include "facts.hpp"
#include "import.hpp"
#include "model/layers/rope.hpp"
#include "weights.hpp"

namespace dinoxx {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

struct Written {
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, TensorView> views() const {
    NamedTensors named;
    for (const auto& [name, tensor] : tensors) named.push_back({name, tensor});
    return tensor_views(named);
  }
};

/// The file's tensors under a naming.
Written renamed(Naming naming, const BackboneConfig& config, const NamedTensors& state) {
  std::vector<NamedShape> ours;
  std::map<std::string, at::Tensor> by_name;
  for (const auto& [name, tensor] : state) {
    ours.push_back({name, tensor.sizes().vec()});
    by_name[name] = tensor.detach().to(at::kCPU).contiguous();
  }
  Written written;
  for (const StoredTensor& stored : stored_tensors(naming, config, ours)) {
    at::Tensor value = by_name.at(stored.ours.name);
    if (stored.with_position) value = value + by_name.at("pos_embed").narrow(1, 0, 1);
    int64_t begin = 0;
    const at::Tensor flat = value.flatten();
    for (const StoredPart& part : stored.parts) {
      int64_t count = 1;
      for (const int64_t n : part.shape) count *= n;
      // a copy where only a part is taken: a file's tensor must not share memory with its neighbour
      if (!part.name.empty())
        written.tensors[part.name] = (count == flat.numel() ? flat : flat.narrow(0, begin, count).clone()).view(part.shape);
      begin += count;
    }
  }
  return written;
}

/// What official DINOv3 files carry beside the parameters.
void add_official_buffers(const VitConfig& c, const NamedTensors& state, Written& written) {
  if (c.positions != "rope") return;
  written.tensors["rope_embed.periods"] = rope_periods(c.rope, c.dim / c.heads).to(at::kFloat);
  if (!c.mask_key_bias) return;
  const auto type = state.front().tensor.scalar_type();
  for (int i = 0; i < c.depth; ++i) {
    const at::Tensor mask = at::ones({3 * c.dim}, type);
    mask.narrow(0, c.dim, c.dim).zero_();
    written.tensors[fmt::format("blocks.{}.attn.qkv.bias_mask", i)] = mask;
  }
}

/// Also a network of iBOT, which has a mask token in addition.
bool dino_v1(const VitConfig& c) {
  return c.positions == "learned" && c.layer_scale == 0 && c.registers == 0;
}

/// transformers' configuration of the class that has these names.
json transformers_config(const BackboneConfig& config, const ExportOptions& options) {
  if (const auto* c = std::get_if<ConvNextConfig>(&config)) {
    return {{"architectures", {"DINOv3ConvNextModel"}},
            {"model_type", "dinov3_convnext"},
            {"depths", c->depths},
            {"hidden_sizes", c->dims},
            {"num_channels", c->channels},
            {"layer_norm_eps", c->norm_eps},
            {"layer_scale_init_value", c->layer_scale},
            {"drop_path_rate", 0.0},
            {"hidden_act", "gelu"},
            {"image_size", options.image_size},
            {"dtype", "float32"}};
  }
  const auto& c = std::get<VitConfig>(config);
  json out{{"hidden_size", c.dim},           {"num_hidden_layers", c.depth},
           {"num_attention_heads", c.heads}, {"image_size", c.image_size},
           {"patch_size", c.patch_size},     {"num_channels", c.channels},
           {"layer_norm_eps", c.norm_eps},   {"hidden_act", "gelu"},
           {"initializer_range", 0.02},      {"dtype", "float32"}};
  if (dino_v1(c)) {
    out.update({{"architectures", {"ViTModel"}},
                {"model_type", "vit"},
                {"intermediate_size", c.hidden_dim()},
                {"qkv_bias", c.qkv_bias},
                {"hidden_dropout_prob", 0.0},
                {"attention_probs_dropout_prob", 0.0}});
    return out;
  }
  out["drop_path_rate"] = 0.0;
  out["layerscale_value"] = 1.0;
  if (c.positions == "rope") {
    out.update({{"architectures", {"DINOv3ViTModel"}},
                {"model_type", "dinov3_vit"},
                {"intermediate_size", c.hidden_dim()},
                {"num_register_tokens", c.registers},
                {"use_gated_mlp", c.ffn == "swiglu"},
                {"rope_theta", c.rope.base},
                {"query_bias", c.qkv_bias},
                {"key_bias", c.qkv_bias && !c.mask_key_bias},
                {"value_bias", c.qkv_bias},
                {"proj_bias", true},
                {"mlp_bias", true},
                {"attention_dropout", 0.0},
                {"pos_embed_rescale", nullptr},
                {"pos_embed_shift", nullptr},
                {"pos_embed_jitter", nullptr}});
    if (c.ffn == "swiglu") out["hidden_act"] = "silu";
    return out;
  }
  const bool registers = c.registers > 0;
  out.update({{"architectures", {registers ? "Dinov2WithRegistersModel" : "Dinov2Model"}},
              {"model_type", registers ? "dinov2_with_registers" : "dinov2"},
              {"mlp_ratio", static_cast<int>(c.mlp_ratio)},
              {"qkv_bias", c.qkv_bias},
              {"use_swiglu_ffn", c.ffn == "swiglu"},
              {"hidden_dropout_prob", 0.0},
              {"attention_probs_dropout_prob", 0.0}});
  if (registers)
    out["num_register_tokens"] = c.registers;
  else
    out["use_mask_token"] = c.mask_token;
  return out;
}

/// A network that transformers' class cannot be told: refused rather than exported wrongly.
void check_transformers(const BackboneConfig& config) {
  const auto refuse = [](const std::string& what) {
    fail_usage("naming transformers", "a network that its classes can describe", what, "Export under the names official or timm");
  };
  const auto* c = std::get_if<VitConfig>(&config);
  if (!c) return;
  if (c->positions == "rope") {
    if (c->rope.coords != "separate" || c->rope.min_period) refuse("rotary positions of another form than base 100 and separate axes");
    if (c->untied_cls_norm) refuse("a final norm of its own for CLS");
    if (c->layer_scale == 0) refuse("DINOv3 without LayerScale");
    return;
  }
  if (dino_v1(*c)) return;
  if (c->layer_scale == 0) refuse("registers without LayerScale");
  if (c->mlp_ratio != std::floor(c->mlp_ratio)) refuse(fmt::format("an MLP ratio of {}", c->mlp_ratio));
}

/// Tensors that transformers' class has always, or by default not.
void fit_to_class(const VitConfig& c, at::ScalarType type, Written& written) {
  if (c.positions == "rope" && c.registers == 0) written.tensors["embeddings.register_tokens"] = at::empty({1, 0, c.dim}, type);
  if (dino_v1(c)) written.tensors.erase("embeddings.mask_token");  // ViTModel is built without it
}

/// The short side of the image of which the input is the middle.
int resized_side(const ExportOptions& o) {
  return static_cast<int>(std::lround(o.image_size / o.crop));
}

/// timm resizes to floor(size / crop_pct): the shortest decimals that give this program's side.
double timm_crop(const ExportOptions& o) {
  const int side = resized_side(o);
  const double share = static_cast<double>(o.image_size) / side;
  for (double unit = 1e3; unit < 1e12; unit *= 10)
    for (const double crop : {std::round(share * unit) / unit, std::floor(share * unit) / unit})
      if (static_cast<int>(std::floor(o.image_size / crop)) == side) return crop;
  return share;
}

json preprocessor_config(const BackboneConfig& config, const ExportOptions& o) {
  const auto* vit = std::get_if<VitConfig>(&config);
  const bool v3 = !vit || vit->positions == "rope";
  json out{{"do_normalize", true},
           {"do_rescale", true},
           {"do_resize", true},
           {"image_mean", decimals(o.normalization.mean)},
           {"image_std", decimals(o.normalization.std)},
           {"rescale_factor", 1.0 / 255.0}};
  if (v3 && o.fit == "whole") {
    out.update({{"image_processor_type", "DINOv3ViTImageProcessorFast"},
                {"size", {{"height", o.image_size}, {"width", o.image_size}}},
                {"resample", 2}});
    return out;
  }
  out.update({{"image_processor_type", "BitImageProcessor"},
              {"do_convert_rgb", true},
              {"do_center_crop", true},
              {"crop_size", {{"height", o.image_size}, {"width", o.image_size}}},
              {"size", {{"shortest_edge", resized_side(o)}}},
              {"resample", 3}});
  if (o.fit == "whole") {
    out["do_center_crop"] = false;
    out["size"] = {{"height", o.image_size}, {"width", o.image_size}};
    out.erase("crop_size");
  }
  return out;
}

/// What timm.create_model("local-dir:FOLDER") wants: an architecture and its arguments.
json timm_config(const BackboneConfig& config, const ExportOptions& o) {
  json arguments = json::object(), pretrained{{"input_size", {channels_of(config), o.image_size, o.image_size}},
                                              {"fixed_input_size", false},
                                              {"interpolation", "bicubic"},
                                              {"crop_pct", o.fit == "whole" ? 1.0 : timm_crop(o)},
                                              {"crop_mode", o.fit == "whole" ? "squash" : "center"},
                                              {"mean", decimals(o.normalization.mean)},
                                              {"std", decimals(o.normalization.std)},
                                              {"num_classes", 0},
                                              {"license", "unknown"}};
  std::string architecture;
  if (const auto* c = std::get_if<VitConfig>(&config)) {
    arguments = {{"img_size", c->positions == "rope" ? o.image_size : c->image_size},
                 {"patch_size", c->patch_size},
                 {"embed_dim", c->dim},
                 {"depth", c->depth},
                 {"num_heads", c->heads}};
    if (c->positions == "rope") {
      if (c->qkv_bias && !c->mask_key_bias)
        fail_usage("naming timm", "DINOv3 without a bias of the keys, as timm has it", "one that counts",
                   "Export under the names official or transformers");
      if (c->untied_cls_norm || c->rope.bf16_periods || c->rope.base != 100)
        fail_usage("naming timm", "rotary positions of base 100 with exact periods and one final norm", "another form",
                   "Export under the names official");
      architecture = c->ffn == "swiglu" ? (c->qkv_bias ? "vit_small_plus_patch16_dinov3_qkvb" : "vit_small_plus_patch16_dinov3")
                                        : (c->qkv_bias ? "vit_small_patch16_dinov3_qkvb" : "vit_small_patch16_dinov3");
      arguments["num_reg_tokens"] = c->registers;
      arguments["mlp_ratio"] = static_cast<double>(c->hidden_dim()) / c->dim;
    } else if (c->registers > 0) {
      architecture = c->final_norm ? "vit_small_patch14_reg4_dinov2" : "vit_base_patch16_radio_v3";
      if (c->layer_scale == 0) arguments["init_values"] = nullptr;
      arguments["reg_tokens"] = c->registers;
    } else {
      architecture = c->layer_scale > 0 ? "vit_small_patch14_dinov2" : "vit_small_patch16_224";
    }
    if (c->positions != "rope") {
      // with its packed SwiGLU timm counts gate and value together
      arguments["mlp_ratio"] = static_cast<double>(c->ffn == "swiglu" ? 2 * c->hidden_dim() : c->hidden_dim()) / c->dim;
      if (c->ffn == "swiglu")
        fail_usage("naming timm", "a network that timm can be told by arguments", "SwiGLU with learned positions",
                   "Export under the names official or transformers");
    }
    if (channels_of(config) != 3) arguments["in_chans"] = c->channels;
  } else if (const auto* convnext = std::get_if<ConvNextConfig>(&config)) {
    architecture = "convnext_tiny";
    arguments = {{"depths", convnext->depths}, {"dims", convnext->dims}, {"in_chans", convnext->channels}};
    if (convnext->norm_eps != 1e-6) arguments["norm_eps"] = convnext->norm_eps;
  } else {
    const auto& r = std::get<ResNetConfig>(config);
    architecture = r.bottleneck ? "resnet50" : r.depths == resnet_config("resnet34").depths ? "resnet34" : "resnet18";
    if (r.depths != resnet_config(architecture).depths) arguments["layers"] = r.depths;
    if (r.small_image_stem || r.width != 64)
      fail_usage("naming timm", "a ResNet that timm can be told by arguments",
                 r.small_image_stem ? std::string("the stem for small images") : fmt::format("a first stage of {} channels", r.width),
                 "Export under the names official");
  }
  return {
      {"architecture", architecture}, {"num_classes", 0}, {"num_features", 0}, {"model_args", arguments}, {"pretrained_cfg", pretrained}};
}

/// What the shapes do not show. dinoxx's own names carry the whole configuration; under others, the rule for positions is their system's.
FactValues written_facts(Naming naming, const BackboneConfig& config, const ExportOptions& o) {
  FactValues facts;
  if (naming != Naming::kDinoxx) {
    facts = stated_facts(config);
    facts.position_resize.reset();
    facts.rope_periods.reset();
  }
  facts.image_size = o.image_size;
  facts.fit = o.fit;
  if (o.fit == "crop") facts.crop = o.crop;
  return facts;
}

/// What the system of a naming does in its own way, whatever the network had.
std::vector<std::string> differences(Naming naming, const BackboneConfig& config) {
  std::vector<std::string> notes;
  const auto* c = std::get_if<VitConfig>(&config);
  if (!c || naming == Naming::kDinoxx) return notes;
  const bool learned = c->positions == "learned", official = naming == Naming::kOfficial;
  const std::string rule = stated_facts(config).position_resize.value_or("");
  const std::string theirs = official                                      ? (c->registers > 0 ? "antialiased" : "scaled")
                             : naming == Naming::kTimm || c->registers > 0 ? "antialiased"
                                                                           : "exact";
  if (learned && rule != theirs)
    notes.push_back(fmt::format("{} resizes positions by another rule ({}; here {}): features of images of another size differ a little",
                                naming_name(naming), theirs, rule));
  const double eps = learned ? 1e-6 : 1e-5;
  if (naming != Naming::kTransformers && c->norm_eps != eps)
    notes.push_back(fmt::format("{} has LayerNorm epsilon {}, here it is {}", naming_name(naming), eps, c->norm_eps));
  if (!official && c->rope.bf16_periods)
    notes.push_back(fmt::format("{} computes the rotary periods exactly, here they are rounded to bfloat16", naming_name(naming)));
  return notes;
}

}  // namespace

std::vector<std::string> export_backbone(Naming naming, const BackboneConfig& config, const NamedTensors& state, const fs::path& folder,
                                         const ExportOptions& options) {
  if (naming == Naming::kTransformers) check_transformers(config);
  Written written = renamed(naming, config, state);
  const auto* vit = std::get_if<VitConfig>(&config);
  if (naming == Naming::kOfficial && vit) add_official_buffers(*vit, state, written);
  if (naming == Naming::kTransformers && vit) fit_to_class(*vit, state.front().tensor.scalar_type(), written);
  // these classes have a mask token, which only training with masks uses
  const bool wants_mask_token =
      naming == Naming::kTransformers && vit && !vit->mask_token && (vit->positions == "rope" || vit->registers > 0);
  if (wants_mask_token) {
    const auto type = state.front().tensor.scalar_type();
    written.tensors["embeddings.mask_token"] =
        vit->positions == "rope" ? at::zeros({1, 1, vit->dim}, type) : at::zeros({1, vit->dim}, type);
  }
  std::map<std::string, json> files;
  std::map<std::string, std::string> metadata{{"format", "pt"}};
  if (naming == Naming::kDinoxx) metadata = {{kBackboneKey, json_text(to_json(config))}};
  if (!options.assumed) metadata[kNormalizationKey] = to_text(options.normalization);
  metadata[kFactsKey] = json_text(facts_json(written_facts(naming, config, options)));
  if (naming == Naming::kTransformers) {
    files["config.json"] = transformers_config(config, options);
    files["preprocessor_config.json"] = preprocessor_config(config, options);
  }
  if (naming == Naming::kTimm) files["config.json"] = timm_config(config, options);

  make_writable_directory(folder);
  for (const char* name : {"model.safetensors", "config.json"})
    if (fs::exists(folder / name))
      fail_usage("--out " + folder.string(), "a folder without a model", std::string(name),
                 "Choose another folder, or remove the old model");
  for (const auto& [name, content] : files) write_file_atomically(folder / name, json_text(content, 2) + "\n");
  write_safetensors(folder / "model.safetensors", written.views(), metadata);
  return differences(naming, config);
}

}  // namespace dinoxx
