// Configuration, parameters and initial values of the residual network; what it computes is in resnet.cpp.
#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "dinoxx/base/error.hpp"
#include "model/layers/init.hpp"
#include "resnet.hpp"

namespace dinoxx {

ResNetConfig resnet_config(const std::string& arch) {
  ResNetConfig config;
  if (arch == "resnet18") return config;
  config.depths = {3, 4, 6, 3};
  if (arch == "resnet34") return config;
  config.bottleneck = true;
  if (arch == "resnet50") return config;
  const std::vector<std::string> names{"resnet18", "resnet34", "resnet50"};
  const std::string near = nearest_name(arch, names);
  fail_usage("architecture", fmt::format("one of {}", fmt::join(names, ", ")), fmt::format("\"{}\"", arch),
             near.empty() ? std::string("Choose one of these") : fmt::format("Did you mean {}?", near));
}

ResNet::Conv ResNet::make_conv(const std::string& conv, const std::string& norm, int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  Conv layer;
  layer.weight = init::uninitialized({out, in, kernel, kernel}, dtype_);
  layer.stride = stride;
  layer.padding = kernel / 2;
  layer.norm = norms_.size();
  parameters_.push_back({conv + "weight", layer.weight});
  norms_.emplace_back(out, dtype_, config_.norm_eps, config_.norm_momentum);
  norms_.back().append_to(norm, parameters_, buffers_);
  return layer;
}

ResNet::ResNet(const ResNetConfig& config, at::ScalarType dtype) : config_(config), dtype_(dtype) {
  if (dtype != at::kFloat && dtype != at::kBFloat16 && dtype != at::kDouble)
    fail_usage("ResNet", "float32, bfloat16 or float64", c10::toString(dtype), "Choose one of these types");
  if (config.stem_padding < 0 || config.stem_padding > 8)
    fail_usage("ResNet", "a padding of the stem from 0 to 8 pixels", std::to_string(config.stem_padding), "Correct it");
  if (config.width < 1 || config.channels < 1 || *std::min_element(config.depths.begin(), config.depths.end()) < 1)
    fail_usage("ResNet", "positive sizes",
               fmt::format("depths {}, width {}, channels {}", fmt::join(config.depths, ","), config.width, config.channels),
               "Correct the architecture");

  stem_ = config.small_image_stem ? make_conv("conv1.", "bn1.", config.channels, config.width, 3, 1)
                                  : make_conv("conv1.", "bn1.", config.channels, config.width, 7, 2);
  if (config.small_image_stem) stem_.padding = config.stem_padding;
  int64_t in = config.width;
  for (int s = 0; s < 4; ++s) {
    const int64_t width = static_cast<int64_t>(config.width) << s, out = config.bottleneck ? 4 * width : width;
    for (int b = 0; b < config.depths[s]; ++b) {
      const std::string prefix = fmt::format("layer{}.{}.", s + 1, b);
      const int64_t stride = s > 0 && b == 0 ? 2 : 1;
      const auto conv = [&](int index, int64_t from, int64_t to, int64_t kernel, int64_t step) {
        return make_conv(fmt::format("{}conv{}.", prefix, index), fmt::format("{}bn{}.", prefix, index), from, to, kernel, step);
      };
      Block& block = stages_[s].emplace_back();
      if (config.bottleneck)
        block.branch = {conv(1, in, width, 1, 1), conv(2, width, width, 3, stride), conv(3, width, out, 1, 1)};
      else
        block.branch = {conv(1, in, width, 3, stride), conv(2, width, out, 3, 1)};
      if (stride != 1 || in != out) block.shortcut = {make_conv(prefix + "downsample.0.", prefix + "downsample.1.", in, out, 1, stride)};
      in = out;
    }
  }
}

void ResNet::initialize(uint64_t seed) {
  const std::string last_gain = config_.bottleneck ? ".bn3.weight" : ".bn2.weight";
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& [name, tensor] = parameters_[i];
    if (tensor.dim() == 4) {
      // fan_out >= 64 in every published size: the bound of +-2 lies beyond 11 standard deviations
      const double fan_out = static_cast<double>(tensor.numel()) / static_cast<double>(tensor.size(1));
      init::truncated_normal(tensor, std::sqrt(2.0 / fan_out), seed, init::kBackbone + i);
    } else {
      const bool is_gain = name.ends_with("weight") && !(config_.zero_init_last_norm && name.ends_with(last_gain));
      init::constant(tensor, is_gain ? 1.0 : 0.0);
    }
  }
  for (const auto& [name, tensor] : buffers_) init::constant(tensor, name.ends_with("running_var") ? 1.0 : 0.0);
  discard_statistics();
}

}  // namespace dinoxx
