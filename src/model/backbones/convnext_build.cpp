// Configuration, parameters and initial values of ConvNeXt; what it computes is in convnext.cpp.
#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <numeric>

#include "convnext.hpp"
#include "dinoxx/base/error.hpp"
#include "model/layers/init.hpp"

namespace dinoxx {

ConvNextConfig convnext_config(const std::string& arch) {
  struct Row {
    const char* name;
    int third_depth, width;
  };
  static constexpr std::array<Row, 4> table{
      {{"convnext_tiny", 9, 96}, {"convnext_small", 27, 96}, {"convnext_base", 27, 128}, {"convnext_large", 27, 192}}};
  std::vector<std::string> names;
  for (const Row& row : table) {
    if (arch == row.name) {
      ConvNextConfig config;
      config.depths = {3, 3, row.third_depth, 3};
      config.dims = {row.width, 2 * row.width, 4 * row.width, 8 * row.width};
      return config;
    }
    names.emplace_back(row.name);
  }
  const std::string near = nearest_name(arch, names);
  fail_usage("architecture", fmt::format("one of {}", fmt::join(names, ", ")), fmt::format("\"{}\"", arch),
             near.empty() ? std::string("Choose one of these, or set depths and dims") : fmt::format("Did you mean {}?", near));
}

namespace {

void check(const ConvNextConfig& c, at::ScalarType dtype) {
  const auto require = [](bool ok, const std::string& expected, const std::string& found) {
    if (!ok) fail_usage("ConvNeXt", expected, found, "Correct the architecture");
  };
  require(dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kDouble, "float32, bfloat16 or float64", c10::toString(dtype));
  require(*std::min_element(c.depths.begin(), c.depths.end()) > 0 && *std::min_element(c.dims.begin(), c.dims.end()) > 0 && c.channels > 0,
          "positive sizes", fmt::format("depths {}, dims {}, channels {}", fmt::join(c.depths, ","), fmt::join(c.dims, ","), c.channels));
  const int blocks = std::accumulate(c.depths.begin(), c.depths.end(), 0);
  require(blocks <= 128, "at most 128 blocks (stochastic depth numbers its draws by block)", std::to_string(blocks));
  require(c.drop_path >= 0 && c.drop_path < 1, "a stochastic depth rate in [0, 1)", fmt::format("{}", c.drop_path));
}

}  // namespace

ConvNext::ConvNext(const ConvNextConfig& config, at::ScalarType dtype) : config_(config), dtype_(dtype) {
  check(config, dtype);
  const auto add = [&](const std::string& name, at::IntArrayRef shape) {
    parameters_.push_back({name, init::uninitialized(shape, dtype)});
    return parameters_.back().tensor;
  };
  for (size_t s = 0; s < stages_.size(); ++s) {
    Stage& stage = stages_[s];
    const int64_t dim = config.dims[s], in = s == 0 ? config.channels : config.dims[s - 1], kernel = s == 0 ? 4 : 2;
    // the stem normalises what it has convolved, the other downsampling layers what they will convolve
    const std::string prefix = fmt::format("downsample_layers.{}.", s), conv = prefix + (s == 0 ? "0." : "1."),
                      norm = prefix + (s == 0 ? "1." : "0.");
    const auto add_conv = [&] {
      stage.conv_weight = add(conv + "weight", {dim, in, kernel, kernel});
      stage.conv_bias = add(conv + "bias", {dim});
    };
    if (s == 0) add_conv();
    stage.norm_weight = add(norm + "weight", {s == 0 ? dim : in});
    stage.norm_bias = add(norm + "bias", {s == 0 ? dim : in});
    if (s > 0) add_conv();

    for (int j = 0; j < config.depths[s]; ++j) {
      const std::string block = fmt::format("stages.{}.{}.", s, j);
      Block& b = stage.blocks.emplace_back();
      b.conv_weight = add(block + "dwconv.weight", {dim, 1, 7, 7});
      b.conv_bias = add(block + "dwconv.bias", {dim});
      b.norm_weight = add(block + "norm.weight", {dim});
      b.norm_bias = add(block + "norm.bias", {dim});
      b.fc1_weight = add(block + "pwconv1.weight", {4 * dim, dim});
      b.fc1_bias = add(block + "pwconv1.bias", {4 * dim});
      b.fc2_weight = add(block + "pwconv2.weight", {dim, 4 * dim});
      b.fc2_bias = add(block + "pwconv2.bias", {dim});
      b.gamma = add(block + "gamma", {dim});
    }
  }
  norm_weight_ = add("norm.weight", {config.dims[3]});
  norm_bias_ = add("norm.bias", {config.dims[3]});
}

void ConvNext::initialize(uint64_t seed) {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& [name, tensor] = parameters_[i];
    if (name.ends_with("gamma"))
      init::constant(tensor, config_.layer_scale);
    else if (name.ends_with("bias"))
      init::constant(tensor, 0.0);
    else if (tensor.dim() == 1)  // a norm's gain
      init::constant(tensor, 1.0);
    else
      init::truncated_normal(tensor, 0.02, seed, init::kBackbone + i);
  }
}

}  // namespace dinoxx
