#include "backbone_json.hpp"

#include <fmt/format.h>

#include "base/json_text.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

using nlohmann::json;

/// A word of which older files have yes or no.
struct OnceYesOrNo {
  std::string& word;
  const char *yes, *no;
};

/// Visits every field of a configuration with its name; the one list of fields for writing and reading.
template <class Visitor>
void fields(VitConfig& c, Visitor&& visit) {
  visit("image_size", c.image_size);
  visit("patch_size", c.patch_size);
  visit("channels", c.channels);
  visit("dim", c.dim);
  visit("depth", c.depth);
  visit("heads", c.heads);
  visit("mlp_ratio", c.mlp_ratio);
  visit("drop_path", c.drop_path);
  visit("norm_eps", c.norm_eps);
  visit("stem", c.stem);
  visit("ffn", c.ffn);
  visit("ffn_align", c.ffn_align);
  visit("ffn_hidden", c.ffn_hidden);
  visit("registers", c.registers);
  visit("mask_token", c.mask_token);
  visit("layer_scale", c.layer_scale);
  visit("qkv_bias", c.qkv_bias);
  visit("mask_key_bias", c.mask_key_bias);
  visit("final_norm", c.final_norm);
  visit("untied_cls_norm", c.untied_cls_norm);
  visit("untied_local_cls_norm", c.untied_local_cls_norm);
  visit("token_std", c.token_std);
  visit("positions", c.positions);
  visit("position_offset", c.position_offset);
  visit("position_antialias", c.position_antialias);
  visit("rope_base", c.rope.base);
  visit("rope_coords", c.rope.coords);
  visit("rope_bf16_periods", c.rope.bf16_periods);
  visit("rope_shift", c.rope.shift);
  visit("rope_jitter", c.rope.jitter);
  visit("rope_rescale", c.rope.rescale);
  visit("rope_min_period", c.rope.min_period);
  visit("rope_max_period", c.rope.max_period);
  visit("drop_path_rule", c.drop_path_rule);
  visit("drop_path_form", c.drop_path_form);
  visit("drop_path_group", c.drop_path_group);
  visit("fit", c.fit);
  visit("recompute", OnceYesOrNo{c.recompute.part, "block", "none"});
  visit("recompute_every", c.recompute.every);
}
template <class Visitor>
void fields(ConvNextConfig& c, Visitor&& visit) {
  visit("depths", c.depths);
  visit("dims", c.dims);
  visit("channels", c.channels);
  visit("drop_path", c.drop_path);
  visit("layer_scale", c.layer_scale);
  visit("norm_eps", c.norm_eps);
}
template <class Visitor>
void fields(ResNetConfig& c, Visitor&& visit) {
  visit("depths", c.depths);
  visit("bottleneck", c.bottleneck);
  visit("width", c.width);
  visit("channels", c.channels);
  visit("small_image_stem", c.small_image_stem);
  visit("stem_padding", c.stem_padding);
  visit("zero_init_last_norm", c.zero_init_last_norm);
  visit("norm_eps", c.norm_eps);
  visit("norm_momentum", c.norm_momentum);
}

struct Writer {
  json& out;
  template <class T>
  void operator()(const char* name, const T& value) const {
    out[name] = value;
  }
  void operator()(const char* name, const std::optional<double>& value) const { out[name] = value ? json(*value) : json(); }
  void operator()(const char* name, const OnceYesOrNo& value) const { out[name] = value.word; }
};

struct Reader {
  const json& in;
  const std::string& source;
  size_t& known;
  template <class T>
  void operator()(const char* name, T& value) const {
    read(name, [&](const json& j) { value = j.get<T>(); });
  }
  void operator()(const char* name, std::optional<double>& value) const {
    read(name, [&](const json& j) { value = j.is_null() ? std::nullopt : std::optional(j.get<double>()); });
  }
  void operator()(const char* name, const OnceYesOrNo& value) const {
    read(name, [&](const json& j) { value.word = !j.is_boolean() ? j.get<std::string>() : j.get<bool>() ? value.yes : value.no; });
  }
  template <class F>
  void read(const char* name, F&& f) const {
    if (!in.contains(name)) return;  // written before this field was there: its default
    ++known;
    try {
      f(in[name]);
    } catch (const json::exception&) {
      fail(source, fmt::format("a value for \"{}\" in its description of the backbone", name), json_text(in[name]),
           "The file was changed or is of another version");
    }
  }
};

template <class C>
BackboneConfig read_config(const json& in, const std::string& source) {
  C config;
  size_t known = 1;  // "kind"
  fields(config, Reader{in, source, known});
  if (known == in.size()) return config;
  for (const auto& [name, value] : in.items()) {
    json all;
    C defaults;
    fields(defaults, Writer{all});
    if (name != "kind" && !all.contains(name))
      fail(source, "a description of the backbone by fields that this program knows", "\"" + name + "\"",
           "The file comes from a newer version");
  }
  return config;
}

}  // namespace

json to_json(const BackboneConfig& config) {
  return std::visit(
      [](auto c) {
        using C = decltype(c);
        json out;
        out["kind"] = std::is_same_v<C, VitConfig> ? "vit" : std::is_same_v<C, ConvNextConfig> ? "convnext" : "resnet";
        fields(c, Writer{out});
        return out;
      },
      config);
}

BackboneConfig backbone_from_json(const json& in, const std::string& source) {
  const std::string kind = in.is_object() && in.contains("kind") && in["kind"].is_string() ? in["kind"].get<std::string>() : "";
  if (kind == "vit") return read_config<VitConfig>(in, source);
  if (kind == "convnext") return read_config<ConvNextConfig>(in, source);
  if (kind == "resnet") return read_config<ResNetConfig>(in, source);
  fail(source, "the description of a vit, convnext or resnet", kind.empty() ? "none" : "\"" + kind + "\"",
       "The file was changed or is of another version");
}

}  // namespace dinoxx
