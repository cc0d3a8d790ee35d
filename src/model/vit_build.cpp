// Configuration, parameters and initial values of the vision transformer; what it computes is in vit.cpp.
#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <bit>

#include "dinoxx/core/error.hpp"
#include "dinoxx/model/vit.hpp"
#include "init.hpp"

namespace dinoxx {

VitConfig vit_config(const std::string& arch) {
  struct Row {
    const char* name;
    int dim, heads;
  };
  static constexpr std::array<Row, 3> table{{{"vit_tiny", 192, 3}, {"vit_small", 384, 6}, {"vit_base", 768, 12}}};
  std::vector<std::string> names;
  for (const Row& row : table) {
    if (arch == row.name) {
      VitConfig config;
      config.dim = row.dim;
      config.heads = row.heads;
      return config;
    }
    names.emplace_back(row.name);
  }
  const std::string near = nearest_name(arch, names);
  fail_usage("architecture", fmt::format("one of {}", fmt::join(names, ", ")), fmt::format("\"{}\"", arch),
             near.empty() ? std::string("Choose one of these, or set width, depth and heads") : fmt::format("Did you mean {}?", near));
}

namespace {

void require(bool ok, const std::string& expected, const std::string& found, const std::string& advice) {
  if (!ok) fail_usage("vision transformer", expected, found, advice);
}

void check(const VitConfig& c, at::ScalarType dtype) {
  require(dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kDouble, "float32, bfloat16 or float64", c10::toString(dtype),
          "Choose one of these types");
  require(c.dim > 0 && c.depth > 0 && c.heads > 0 && c.channels > 0 && c.patch_size > 0 && c.image_size > 0 && c.mlp_ratio > 0,
          "positive sizes",
          fmt::format("dim {}, depth {}, heads {}, channels {}, patch {}, image {}, MLP ratio {}", c.dim, c.depth, c.heads, c.channels,
                      c.patch_size, c.image_size, c.mlp_ratio),
          "Correct the architecture");
  require(c.dim % c.heads == 0, "a width that the heads divide", fmt::format("dim {} with {} heads", c.dim, c.heads), "Change one of them");
  require(c.image_size % c.patch_size == 0, "an image size that is a multiple of the patch size",
          fmt::format("image {}, patch {}", c.image_size, c.patch_size), "Change one of them");
  require(c.depth <= 128, "at most 128 blocks", std::to_string(c.depth), "Stochastic depth numbers its draws by block");
  require(c.drop_path >= 0 && c.drop_path < 1, "a stochastic depth rate in [0, 1)", fmt::format("{}", c.drop_path), "Correct drop_path");
  require(c.stem == "patch" || c.stem == "conv", "stem \"patch\" or \"conv\"", fmt::format("\"{}\"", c.stem), "Choose one of them");
  if (c.stem == "conv") {
    const auto p = static_cast<unsigned>(c.patch_size);
    require(std::has_single_bit(p) && p >= 2 && p <= 16, "patch size 2, 4, 8 or 16 for the convolutional stem", std::to_string(p),
            "Change the patch size or the stem");
    require(c.dim % (c.patch_size / 2) == 0, "a width that can be halved once per convolution of the stem",
            fmt::format("dim {} with patch {}", c.dim, c.patch_size), "Change one of them");
  }
}

}  // namespace

VisionTransformer::VisionTransformer(const VitConfig& config, at::ScalarType dtype) : config_(config), dtype_(dtype) {
  check(config, dtype);
  const int64_t dim = config.dim, patch = config.patch_size, side = config.image_size / patch;
  const auto hidden = static_cast<int64_t>(static_cast<double>(dim) * config.mlp_ratio);
  const auto add = [&](const std::string& name, at::IntArrayRef shape) {
    parameters_.push_back({name, init::uninitialized(shape, dtype)});
    return parameters_.back().tensor;
  };

  cls_token_ = add("cls_token", {1, 1, dim});
  pos_embed_ = add("pos_embed", {1, side * side + 1, dim});
  int64_t in = config.channels, kernel = patch;
  if (config.stem == "conv") {
    const int layers = std::countr_zero(static_cast<unsigned>(patch));
    for (int i = 0; i < layers; ++i) {
      const int64_t out = dim >> (layers - 1 - i);
      const std::string prefix = fmt::format("patch_embed.stem.{}.", i);
      StemLayer& layer = stem_.emplace_back();
      layer.conv_weight = add(prefix + "conv.weight", {out, in, 3, 3});
      layer.norm_weight = add(prefix + "norm.weight", {out});
      layer.norm_bias = add(prefix + "norm.bias", {out});
      in = out;
    }
    kernel = 1;
  }
  patch_weight_ = add("patch_embed.proj.weight", {dim, in, kernel, kernel});
  patch_bias_ = add("patch_embed.proj.bias", {dim});

  for (int i = 0; i < config.depth; ++i) {
    const std::string prefix = fmt::format("blocks.{}.", i);
    ops::BlockWeights& w = blocks_.emplace_back();
    w.norm1_weight = add(prefix + "norm1.weight", {dim});
    w.norm1_bias = add(prefix + "norm1.bias", {dim});
    w.qkv_weight = add(prefix + "attn.qkv.weight", {3 * dim, dim});
    w.qkv_bias = add(prefix + "attn.qkv.bias", {3 * dim});
    w.proj_weight = add(prefix + "attn.proj.weight", {dim, dim});
    w.proj_bias = add(prefix + "attn.proj.bias", {dim});
    w.norm2_weight = add(prefix + "norm2.weight", {dim});
    w.norm2_bias = add(prefix + "norm2.bias", {dim});
    w.fc1_weight = add(prefix + "mlp.fc1.weight", {hidden, dim});
    w.fc1_bias = add(prefix + "mlp.fc1.bias", {hidden});
    w.fc2_weight = add(prefix + "mlp.fc2.weight", {dim, hidden});
    w.fc2_bias = add(prefix + "mlp.fc2.bias", {dim});
  }
  norm_weight_ = add("norm.weight", {dim});
  norm_bias_ = add("norm.bias", {dim});
}

void VisionTransformer::initialize(uint64_t seed) {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& [name, tensor] = parameters_[i];
    const uint64_t index = init::kBackbone + i;
    const bool is_bias = name.ends_with(".bias");
    if (name.starts_with("patch_embed.proj.")) {
      init::fan_in_uniform(tensor, patch_weight_.numel() / config_.dim, seed, index);
    } else if (name.ends_with("conv.weight")) {
      init::fan_in_uniform(tensor, tensor.numel() / tensor.size(0), seed, index);
    } else if (name.find("norm") != std::string::npos) {
      init::constant(tensor, is_bias ? 0.0 : 1.0);
    } else if (is_bias) {
      init::constant(tensor, 0.0);
    } else {
      init::truncated_normal(tensor, 0.02, seed, index);
    }
  }
}

}  // namespace dinoxx
