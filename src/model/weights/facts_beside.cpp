// What config.json of transformers or timm and preprocessor_config.json say, and whether they describe the network at all.
#include <fmt/ranges.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/json_text.hpp"
#include "base/utf8.hpp"
#include "dinoxx/base/error.hpp"
#include "facts.hpp"

namespace dinoxx {
namespace {

using nlohmann::json;

json object_in(const std::filesystem::path& path, std::vector<std::string>& notes) {
  std::error_code code;
  if (!std::filesystem::exists(path, code)) return {};
  const bool file = std::filesystem::is_regular_file(path, code);  // a pipe would be waited for
  std::ifstream in;
  if (file) in.open(path);
  const json content = in.is_open() ? json::parse(in, nullptr, /*allow_exceptions=*/false) : json();
  if (content.is_object()) return content;
  notes.push_back(fmt::format("{} beside the weights is not used: expected a JSON object, found {}", path.filename().string(),
                              !file                    ? "no file"
                              : !in.is_open()          ? "a file that cannot be read"
                              : content.is_discarded() ? "text that is no JSON"
                                                       : content.type_name()));
  return {};
}

bool is_off(const json& in, const char* name) {
  return in.contains(name) && in[name] == false;
}

/// Values that are there and have another form than is read.
void note_unread(const json& in, const char* file, const std::vector<std::pair<const char*, bool>>& paths,
                 std::vector<std::string>& notes) {
  for (const auto& [path, read] : paths)
    if (const json::json_pointer where(path); in.contains(where) && !in[where].is_null() && !read)
      notes.push_back(fmt::format("{}: {} is {}, which is not read", file, std::string(path).substr(1), escaped(json_text(in[where]))));
}

/// A number, or what [height, width] have in common.
template <class T>
std::optional<T> number(const json& in, const char* path) {
  const json::json_pointer where(path);
  if (!in.contains(where)) return std::nullopt;
  const json& found = in[where];
  const bool pair = found.is_array() && found.size() == 2 && found[0] == found[1];
  const json& one = pair ? found[0] : found;
  if (!one.is_number()) return std::nullopt;
  if (std::is_integral_v<T> && !one.is_number_integer() && std::trunc(one.get<double>()) != one.get<double>()) return std::nullopt;
  return static_cast<T>(one.get<double>());
}

std::string word(const json& in, const char* path) {
  const json::json_pointer where(path);
  return in.contains(where) && in[where].is_string() ? escaped(in[where].get<std::string>()) : "";
}

/// Three channels of one, or of one for all.
std::optional<std::array<float, 3>> channels(const json& in, const char* path) {
  const json::json_pointer where(path);
  if (!in.contains(where)) return std::nullopt;
  const json& found = in[where];
  std::vector<double> values;
  for (const json& item : found.is_array() ? found : json::array({found})) {
    if (!item.is_number()) return std::nullopt;
    values.push_back(item.get<double>());
  }
  if (values.size() == 1) values.assign(3, values.front());
  if (values.size() != 3) return std::nullopt;
  return std::array{static_cast<float>(values[0]), static_cast<float>(values[1]), static_cast<float>(values[2])};
}

/// A size that a file states beside the one that the tensors have.
struct Compared {
  const char* name;
  std::optional<int> stated;
  int found;
};
std::optional<std::string> first_difference(const std::vector<Compared>& all) {
  for (const Compared& c : all)
    if (c.stated && *c.stated != c.found) return fmt::format("{} {}, the tensors have {}", c.name, *c.stated, c.found);
  return std::nullopt;
}

template <class List>
std::optional<std::string> list_difference(const json& config, const char* name, const List& found) {
  if (!config.contains(name) || config[name] == json(found)) return std::nullopt;
  return fmt::format("{} {}, the tensors have {}", name, json_text(config[name]), json_text(json(found)));
}

// ---- transformers

const std::set<std::string>& image_models() {
  static const std::set<std::string> types{
      "vit",      "deit",   "vit_mae",     "vit_msn", "ijepa", "dinov2", "dinov2_with_registers", "dinov3_vit", "dinov3_convnext",
      "convnext", "resnet", "timm_wrapper"};
  return types;
}

/// Why a configuration of transformers is another network's; nothing where it may be this one's.
std::optional<std::string> differs(const json& config, const BackboneConfig& shapes) {
  const std::string type = word(config, "/model_type");
  if (!type.empty() && !image_models().contains(type)) return fmt::format("model_type \"{}\"", type);
  if (const auto* c = std::get_if<VitConfig>(&shapes)) {
    const auto heads = number<int>(config, "/num_attention_heads");
    if (heads && (*heads < 1 || c->dim % *heads != 0)) return fmt::format("{} heads, which {} channels do not divide into", *heads, c->dim);
    const auto image = c->positions == "learned" ? number<int>(config, "/image_size") : std::nullopt;
    return first_difference(
        {{"hidden_size", number<int>(config, "/hidden_size"), c->dim},
         {"num_hidden_layers", number<int>(config, "/num_hidden_layers"), c->depth},
         {"patch_size", number<int>(config, "/patch_size"), c->patch_size},
         {"num_channels", number<int>(config, "/num_channels"), c->channels},
         {"intermediate_size", number<int>(config, "/intermediate_size"), c->hidden_dim()},
         {"num_register_tokens", number<int>(config, "/num_register_tokens"), c->registers},
         {"image_size in patches", image ? std::optional(*image / c->patch_size) : std::nullopt, c->image_size / c->patch_size}});
  }
  if (const auto* c = std::get_if<ConvNextConfig>(&shapes)) {
    if (const auto why = list_difference(config, "hidden_sizes", c->dims)) return why;
    return list_difference(config, "depths", c->depths);
  }
  return std::nullopt;
}

FactValues said_by_transformers(const json& config, const BackboneConfig& shapes) {
  FactValues says;
  says.heads = number<int>(config, "/num_attention_heads");
  says.norm_eps = number<double>(config, "/layer_norm_eps");
  if (std::holds_alternative<ResNetConfig>(shapes)) says.norm_eps.reset();
  if (std::holds_alternative<VitConfig>(shapes) && config.value("qkv_bias", json()) == json(false)) says.qkv_bias = "none";
  if (const std::string name = word(config, "/hidden_act"); !name.empty() && !std::holds_alternative<ResNetConfig>(shapes))
    says.activation = name;
  const auto* vit = std::get_if<VitConfig>(&shapes);
  // Dinov2Config names gelu and has silu in its gated part, which no file can change
  if (vit && vit->ffn == "swiglu" && vit->positions == "learned" && says.activation == "silu") says.activation.reset();
  for (const char* path : {"/rope_theta", "/rope_parameters/rope_theta"})
    if (vit && vit->positions == "rope" && !says.rope_base) says.rope_base = number<double>(config, path);
  return says;
}

// ---- timm

struct TimmName {
  const char* word;
  int dim, heads;
};
// timm/models/vision_transformer.py: where the width says another number of heads than width / 64
constexpr TimmName kTimmNames[] = {
    {"vit_tiny_", 192, 3},     {"vit_wee_", 256, 4},       {"vit_little_", 320, 5},  {"vit_small_", 384, 6},      {"vit_medium_", 512, 8},
    {"vit_mediumd_", 512, 8},  {"vit_betwixt_", 640, 10},  {"vit_base_", 768, 12},   {"vit_large_", 1024, 16},    {"vit_so150m_", 896, 14},
    {"vit_so400m_", 1152, 16}, {"vit_huge_", 1280, 16},    {"vit_giant_", 1408, 16}, {"vit_gigantic_", 1664, 16}, {"vit_7b_", 4096, 32},
    {"deit_tiny_", 192, 3},    {"deit_small_", 384, 6},    {"deit_base_", 768, 12},  {"deit3_small_", 384, 6},    {"deit3_base_", 768, 12},
    {"deit3_medium_", 512, 8}, {"deit3_large_", 1024, 16}, {"deit3_huge_", 1280, 16}};

std::optional<int> patch_in(const std::string& architecture) {
  const size_t at = architecture.find("_patch");
  if (at == std::string::npos) return std::nullopt;
  const int patch = std::atoi(architecture.c_str() + at + 6);
  return patch > 0 ? std::optional(patch) : std::nullopt;
}

std::optional<TimmName> timm_name(const std::string& architecture) {
  if (architecture.starts_with("vit_giant_"))  // in other families than these 1408 wide
    for (const char* family : {"dinov2", "tipsv2", "lingbot", "radio"})
      if (architecture.find(family) != std::string::npos) return TimmName{"", 1536, 24};
  if (architecture.starts_with("vit_huge_plus_")) return TimmName{"", 1280, 20};
  if (architecture.starts_with("vit_small_plus_")) return TimmName{"", 384, 6};
  for (const TimmName& name : kTimmNames)
    if (architecture.starts_with(name.word)) return name;
  return std::nullopt;
}

std::optional<std::string> differs_from_timm(const json& config, const BackboneConfig& shapes) {
  const std::string architecture = word(config, "/architecture");
  const auto argument = [&](const char* path) { return number<int>(config, path); };
  if (const auto* c = std::get_if<VitConfig>(&shapes)) {
    for (const char* other : {"convnext", "resnet", "swin", "eva02", "beit", "efficientnet"})
      if (architecture.starts_with(other)) return fmt::format("architecture \"{}\"", architecture);
    // arguments for the network itself take the place of what the name means
    const bool own = argument("/model_args/num_heads").has_value();
    const auto name = own ? std::nullopt : timm_name(architecture);
    const auto or_else = [](std::optional<int> value, std::optional<int> otherwise) { return value ? value : otherwise; };
    return first_difference(
        {{"embed_dim", or_else(argument("/model_args/embed_dim"), name ? std::optional(name->dim) : std::nullopt), c->dim},
         {"depth", argument("/model_args/depth"), c->depth},
         {"patch_size", or_else(argument("/model_args/patch_size"), own || c->stem == "conv" ? std::nullopt : patch_in(architecture)),
          c->patch_size}});
  }
  const char* family = std::holds_alternative<ConvNextConfig>(shapes) ? "convnext" : "resnet";
  if (!architecture.empty() && architecture.find(family) == std::string::npos) return fmt::format("architecture \"{}\"", architecture);
  if (const auto* c = std::get_if<ConvNextConfig>(&shapes); c && config.contains("model_args") && config["model_args"].is_object())
    if (const auto why = list_difference(config["model_args"], "dims", c->dims)) return why;
  return std::nullopt;
}

/// Only C-RADIO has none: a file of another network has lost it.
void require_final_norm(const json& config, const BackboneConfig& shapes, const std::string& source) {
  const auto* vit = std::get_if<VitConfig>(&shapes);
  const std::string architecture = word(config, "/architecture");
  const json::json_pointer stated("/model_args/final_norm");
  const bool none = architecture.find("_radio_") != std::string::npos || (config.contains(stated) && config[stated] == json(false));
  if (vit && !vit->final_norm && !architecture.empty() && !none)
    fail_usage("weights in " + source, fmt::format("a final norm, as a {} has it", architecture), "no norm.weight and no norm.bias",
               "The file is incomplete, or config.json beside it is another network's");
}

/// What pretrained_cfg says of the input; files of earlier versions have it without that name.
void add_input_of_timm(const json& config, FactValues& says) {
  const json& input = config.contains("pretrained_cfg") && config["pretrained_cfg"].is_object() ? config["pretrained_cfg"] : config;
  says.mean = channels(input, "/mean");
  says.std = channels(input, "/std");
  says.image_size = number<int>(input, "/input_size/1");
  if (const auto crop = number<double>(input, "/crop_pct"); crop && *crop > 0 && *crop <= 1) says.crop = crop;
  if (word(input, "/crop_mode") == "squash") says.fit = "whole";
}

FactValues said_by_timm(const json& config, const BackboneConfig& shapes) {
  FactValues says;
  says.heads = number<int>(config, "/model_args/num_heads");
  const auto name = timm_name(word(config, "/architecture"));
  const auto* vit = std::get_if<VitConfig>(&shapes);
  if (!says.heads && name && vit && vit->dim == name->dim) says.heads = name->heads;
  if (const std::string act = word(config, "/model_args/act_layer"); !act.empty()) says.activation = act;
  if (!vit) says.heads.reset();
  add_input_of_timm(config, says);
  return says;
}

// ---- preprocessor_config.json of transformers

FactValues said_by_preprocessor(const json& in) {
  FactValues says;
  const auto off = [&](const char* name) { return in.contains(name) && in[name].is_boolean() && !in[name].get<bool>(); };
  auto mean = channels(in, "/image_mean"), std = channels(in, "/image_std");
  if (off("do_normalize")) mean = {0, 0, 0}, std = {1, 1, 1};
  if (mean && std) {
    // what is normalised is the pixel times the factor; here it is the pixel over 255
    const double scale = 255 * (off("do_rescale") ? 1.0 : number<double>(in, "/rescale_factor").value_or(1.0 / 255));
    const bool as_here = std::abs(scale - 1) < 1e-3;
    for (size_t i = 0; i < 3 && !as_here; ++i) {
      (*mean)[i] = static_cast<float>((*mean)[i] / scale);
      (*std)[i] = static_cast<float>((*std)[i] / scale);
    }
    says.mean = mean;
    says.std = std;
  }
  const auto size = number<int>(in, "/size/height"), edge = number<int>(in, "/size/shortest_edge"), plain = number<int>(in, "/size"),
             cropped = number<int>(in, "/crop_size/height"), plain_cropped = number<int>(in, "/crop_size");
  const bool crops = !off("do_center_crop") && (cropped || plain_cropped);
  if (crops) {
    says.image_size = cropped ? cropped : plain_cropped;
    const auto resized = edge ? edge : size ? size : plain;
    if (resized && *resized >= *says.image_size && !off("do_resize")) says.crop = static_cast<double>(*says.image_size) / *resized;
    says.fit = "crop";
  } else if (!off("do_resize")) {
    says.image_size = size ? size : plain ? plain : edge;
    if (size || plain) says.fit = "whole";
  }
  return says;
}

/// Images are resized bicubically here, as these networks were trained; files may say otherwise.
void note_resizing(const json& config, const json& preprocessor, std::vector<std::string>& notes) {
  const json& timm = config.contains("pretrained_cfg") && config["pretrained_cfg"].is_object() ? config["pretrained_cfg"] : config;
  std::string how = word(timm, "/interpolation");
  static constexpr const char* kFilters[] = {"nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"};  // numbers of Pillow
  const auto filter = number<int>(preprocessor, "/resample");
  if (filter && *filter >= 0 && *filter < static_cast<int>(std::size(kFilters))) how = kFilters[*filter];
  if (!how.empty() && how != "bicubic" && how != "random")
    notes.push_back(fmt::format("the file says that images are resized by {} interpolation; here it is bicubic", how));
}

/// Images are square here.
void note_shape(const json& preprocessor, std::vector<std::string>& notes) {
  for (const std::string key : {"size", "crop_size"}) {
    const auto height = number<int>(preprocessor, fmt::format("/{}/height", key).c_str()),
               width = number<int>(preprocessor, fmt::format("/{}/width", key).c_str());
    if (height && width && *height != *width)
      notes.push_back(
          fmt::format("preprocessor_config.json says that {} is {} x {} pixels (height x width); here images are square, {} x {}", key,
                      *height, *width, *height, *height));
  }
}

}  // namespace

int published_heads(const VitConfig& c) {
  const bool plain = c.positions == "learned" && c.ffn == "mlp";
  // SoViT-400M as SigLIP, TIPSv2 and C-RADIO have it (not DINOv3's, which has 18 heads and is wider inside); ViT-H, g and G
  const bool sixteen = (c.dim == 1152 && c.hidden_dim() == 4304) || (c.dim == 1280 && plain) || c.dim == 1408 || c.dim == 1664;
  return sixteen ? 16 : std::max(1, c.dim / (c.dim == 4096 ? 128 : 64));
}

std::vector<FactSource> facts_beside(const WeightFile& file, const BackboneConfig& shapes, std::vector<std::string>& notes) {
  const std::filesystem::path folder = file.path().parent_path();
  const json config = object_in(folder / "config.json", notes), preprocessor = object_in(folder / "preprocessor_config.json", notes);
  note_unread(config, "config.json",
              {{"/num_attention_heads", number<int>(config, "/num_attention_heads").has_value()},
               {"/layer_norm_eps", number<double>(config, "/layer_norm_eps").has_value()},
               {"/rope_theta", number<double>(config, "/rope_theta").has_value()}},
              notes);
  note_unread(preprocessor, "preprocessor_config.json",
              {{"/image_mean", channels(preprocessor, "/image_mean").has_value()},
               {"/image_std", channels(preprocessor, "/image_std").has_value()},
               {"/do_flip_channel_order", is_off(preprocessor, "do_flip_channel_order")},
               {"/do_pad", is_off(preprocessor, "do_pad")}},
              notes);
  std::vector<FactSource> sources;
  if (!config.is_null()) {
    const bool timm = config.contains("architecture") || config.contains("pretrained_cfg") || config.contains("model_args");
    if (const auto why = timm ? differs_from_timm(config, shapes) : differs(config, shapes)) {
      notes.push_back(fmt::format("config.json beside the weights describes another network ({}): {} not used", *why,
                                  preprocessor.is_null() ? "it is" : "it and preprocessor_config.json are"));
      return {};
    }
    if (timm) require_final_norm(config, shapes, file.path().string());
    sources.push_back({"config.json", timm ? said_by_timm(config, shapes) : said_by_transformers(config, shapes)});
  }
  const bool ours = file.settings().is_object() && file.settings().contains(kFactsKey);
  if (!ours) note_resizing(config, preprocessor, notes);
  note_shape(preprocessor, notes);
  if (!preprocessor.is_null()) sources.push_back({"preprocessor_config.json", said_by_preprocessor(preprocessor)});
  return sources;
}

}  // namespace dinoxx
