#include "vit_config.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

struct Size {
  const char* name;
  int dim, depth, heads;
  double ratio;
  const char* ffn_v2;
  const char* ffn_v3;
  int align_v3;
};

// facebookresearch/dino vision_transformer.py, dinov2 models/vision_transformer.py, dinov3 models/vision_transformer.py and
// hub/backbones.py
constexpr std::array<Size, 10> kSizes{{{"vit_tiny", 192, 12, 3, 4, "mlp", "mlp", 8},
                                       {"vit_small", 384, 12, 6, 4, "mlp", "mlp", 8},
                                       {"vit_small_plus", 384, 12, 6, 6, "swiglu", "swiglu", 8},
                                       {"vit_base", 768, 12, 12, 4, "mlp", "mlp", 8},
                                       {"vit_large", 1024, 24, 16, 4, "mlp", "mlp", 8},
                                       {"vit_large_plus", 1024, 24, 16, 6, "swiglu", "swiglu", 8},
                                       {"vit_so400m", 1152, 27, 18, 3.777777778, "mlp", "mlp", 8},
                                       {"vit_huge_plus", 1280, 32, 20, 6, "swiglu", "swiglu", 8},
                                       {"vit_giant2", 1536, 40, 24, 4, "swiglu", "mlp", 8},
                                       {"vit_7b", 4096, 40, 32, 3, "swiglu", "swiglu", 64}}};
constexpr std::array<const char*, 4> kStyles{"dino", "dinov2", "dinov2_reg", "dinov3"};

void require(bool ok, const std::string& expected, const std::string& found, const std::string& advice) {
  if (!ok) fail_usage("vision transformer", expected, found, advice);
}

void require_one_of(const std::string& what, const std::string& value, const std::vector<std::string>& names) {
  if (std::find(names.begin(), names.end(), value) != names.end()) return;
  const std::string near = nearest_name(value, names);
  fail_usage("vision transformer", fmt::format("{}: one of {}", what, fmt::join(names, ", ")), fmt::format("\"{}\"", value),
             near.empty() ? std::string("Choose one of them") : fmt::format("Did you mean {}?", near));
}

void check_stem(const VitConfig& c) {
  require_one_of("stem", c.stem, {"patch", "conv"});
  if (c.stem != "conv") return;
  const auto p = static_cast<unsigned>(c.patch_size);
  require(std::has_single_bit(p) && p >= 2 && p <= 16, "patch size 2, 4, 8 or 16 for the convolutional stem", std::to_string(p),
          "Change the patch size or the stem");
  require(c.dim % (c.patch_size / 2) == 0, "a width that can be halved once per convolution of the stem",
          fmt::format("dim {} with patch {}", c.dim, c.patch_size), "Change one of them");
}

void check_positions(const VitConfig& c) {
  require_one_of("positions", c.positions, {"learned", "rope"});
  require(c.position_offset >= 0 && c.position_offset < 1, "a position offset in [0, 1)", fmt::format("{}", c.position_offset),
          "Correct it");
  if (c.positions != "rope") return;
  const RopeConfig& r = c.rope;
  require(c.dim / c.heads % 4 == 0, "heads whose width is a multiple of 4 (two axes, pairs) for rotary positions",
          fmt::format("dim {} with {} heads", c.dim, c.heads), "Change one of them");
  require_one_of("rope coordinates", r.coords, {"separate", "max", "min"});
  require(r.min_period.has_value() == r.max_period.has_value(), "both or neither of the smallest and the largest rotary period",
          "one of them", "Give both, or the base alone");
  require(r.base > 1 && r.min_period.value_or(1) > 0 && r.max_period.value_or(2) > r.min_period.value_or(1),
          "a rotary base above 1 and periods 0 < smallest < largest",
          fmt::format("base {}, periods {} to {}", r.base, r.min_period.value_or(0), r.max_period.value_or(0)), "Correct them");
  require(r.shift >= 0 && (r.jitter == 0 || r.jitter >= 1) && (r.rescale == 0 || r.rescale >= 1),
          "rotary shift >= 0, jitter and rescale >= 1 (0: off)",
          fmt::format("shift {}, jitter {}, rescale {}", r.shift, r.jitter, r.rescale), "Correct them");
}

}  // namespace

int VitConfig::hidden_dim() const {
  if (ffn_hidden > 0) return ffn_hidden;
  const int hidden = static_cast<int>(dim * mlp_ratio);
  if (ffn == "mlp") return hidden;
  const int inner = static_cast<int>(hidden * 2 / 3.0);
  return (inner + ffn_align - 1) / ffn_align * ffn_align;
}

std::vector<NamedShape> vit_parameters(const VitConfig& c) {
  std::vector<NamedShape> all;
  const int64_t dim = c.dim, side = c.image_size / c.patch_size, hidden = c.hidden_dim();
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) { all.push_back({name, shape}); };
  const auto add_pair = [&](const std::string& name, const std::vector<int64_t>& shape, bool bias = true) {
    add(name + ".weight", shape);
    if (bias) add(name + ".bias", {shape[0]});
  };
  add("cls_token", {1, 1, dim});
  if (c.positions == "learned") add("pos_embed", {1, side * side + 1, dim});
  if (c.registers > 0) add("register_tokens", {1, c.registers, dim});
  if (c.mask_token) add("mask_token", {1, dim});
  int64_t in = c.channels, kernel = c.patch_size;
  if (c.stem == "conv") {
    const int layers = std::countr_zero(static_cast<unsigned>(c.patch_size));
    for (int i = 0; i < layers; ++i) {
      const int64_t out = dim >> (layers - 1 - i);
      const std::string prefix = fmt::format("patch_embed.stem.{}.", i);
      add(prefix + "conv.weight", {out, in, 3, 3});
      add_pair(prefix + "norm", {out});
      in = out;
    }
    kernel = 1;
  }
  add_pair("patch_embed.proj", {dim, in, kernel, kernel});
  for (int i = 0; i < c.depth; ++i) {
    const std::string prefix = fmt::format("blocks.{}.", i);
    add_pair(prefix + "norm1", {dim});
    add_pair(prefix + "attn.qkv", {3 * dim, dim}, c.qkv_bias);
    add_pair(prefix + "attn.proj", {dim, dim});
    if (c.layer_scale > 0) add(prefix + "ls1.gamma", {dim});
    add_pair(prefix + "norm2", {dim});
    const bool swiglu = c.ffn == "swiglu";
    add_pair(prefix + (swiglu ? "mlp.w12" : "mlp.fc1"), {swiglu ? 2 * hidden : hidden, dim});
    add_pair(prefix + (swiglu ? "mlp.w3" : "mlp.fc2"), {dim, hidden});
    if (c.layer_scale > 0) add(prefix + "ls2.gamma", {dim});
  }
  if (c.final_norm) add_pair("norm", {dim});
  if (c.untied_cls_norm) add_pair("cls_norm", {dim});
  if (c.untied_local_cls_norm) add_pair("local_cls_norm", {dim});
  return all;
}

std::vector<std::string> vit_archs() {
  std::vector<std::string> names;
  names.reserve(std::size(kSizes));
  for (const Size& size : kSizes) names.push_back(size.name);
  return names;
}

std::vector<std::string> vit_styles() {
  return {kStyles.begin(), kStyles.end()};
}

VitConfig vit_config(const std::string& arch, const std::string& style) {
  require_one_of("architecture", arch, vit_archs());
  require_one_of("style", style, vit_styles());
  const Size& size = *std::find_if(kSizes.begin(), kSizes.end(), [&](const Size& s) { return arch == s.name; });
  VitConfig c;
  c.dim = size.dim;
  c.depth = size.depth;
  c.heads = size.heads;
  c.mlp_ratio = size.ratio;
  const bool v3 = style == "dinov3";
  c.ffn = v3 ? size.ffn_v3 : size.ffn_v2;
  c.ffn_align = v3 ? size.align_v3 : 8;
  if (style == "dino") return c;

  c.mask_token = true;
  c.layer_scale = 1e-5;
  c.drop_path_rule = "uniform";
  c.drop_path_form = "subset";
  if (!v3) {
    c.token_std = 1e-6;
    if (style == "dinov2_reg") {
      c.registers = 4;
      c.position_offset = 0;
      c.position_antialias = true;
    }
    return c;
  }
  c.registers = 4;
  c.positions = "rope";
  c.norm_eps = 1e-5;
  c.mask_key_bias = true;
  if (arch == "vit_7b") {
    c.qkv_bias = c.mask_key_bias = false;
    c.untied_local_cls_norm = true;
  }
  return c;
}

void check_vit_config(const VitConfig& c) {
  require(c.dim > 0 && c.depth > 0 && c.heads > 0 && c.channels > 0 && c.patch_size > 0 && c.image_size > 0 && c.mlp_ratio > 0 &&
              c.registers >= 0 && c.ffn_align > 0,
          "positive sizes",
          fmt::format("dim {}, depth {}, heads {}, channels {}, patch {}, image {}, MLP ratio {}, registers {}", c.dim, c.depth, c.heads,
                      c.channels, c.patch_size, c.image_size, c.mlp_ratio, c.registers),
          "Correct the architecture");
  require(c.dim % c.heads == 0, "a width that the heads divide", fmt::format("dim {} with {} heads", c.dim, c.heads), "Change one of them");
  require(c.image_size % c.patch_size == 0, "an image size that is a multiple of the patch size",
          fmt::format("image {}, patch {}", c.image_size, c.patch_size), "Change one of them");
  require(c.depth <= 128, "at most 128 blocks", std::to_string(c.depth), "Stochastic depth numbers its draws by block");
  require(c.drop_path >= 0 && c.drop_path < 1, "a stochastic depth rate in [0, 1)", fmt::format("{}", c.drop_path), "Correct drop_path");
  require_one_of("stochastic depth rule", c.drop_path_rule, {"linear", "uniform"});
  require_one_of("stochastic depth form", c.drop_path_form, {"mask", "subset"});
  require(c.drop_path_group >= 0, "a group of slots, or 0 for the whole local batch", std::to_string(c.drop_path_group), "Correct it");
  require_one_of("feed-forward part", c.ffn, {"mlp", "swiglu"});
  require_one_of("what is computed again", c.recompute.part, {"none", "attention", "block"});
  require(c.recompute.every >= 1, "a number of consecutive blocks, 1 or more", std::to_string(c.recompute.every), "Correct it");
  require_one_of("what to do with sides that no patch divides", c.fit, {"error", "crop", "pad"});
  require(c.layer_scale >= 0, "an initial layer scale >= 0", fmt::format("{}", c.layer_scale), "Correct it");
  require(c.qkv_bias || !c.mask_key_bias, "a qkv bias whose keys' part can be masked", "none", "Turn one of them");
  require(c.final_norm || (!c.untied_cls_norm && !c.untied_local_cls_norm), "a final norm where CLS has one of its own", "none",
          "Correct one of them");
  check_stem(c);
  check_positions(c);
}

}  // namespace dinoxx
