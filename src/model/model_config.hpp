#pragma once
#include <cstdint>
#include <string>

#include "config/auto.hpp"

namespace dinoxx {

/// Keys of the section [model].
struct ModelConfig {
  std::string arch, style;
  Auto<int64_t> dim, depth, heads;  ///< auto: the architecture's
  int64_t patch_size = 0;
  Auto<int64_t> image_size;  ///< auto: views.global_size
  Auto<double> mlp_ratio;    ///< auto: the architecture's
  int64_t drop_path_group = 0;
  Auto<int64_t> registers;   ///< auto: the style's
  Auto<double> layer_scale;  ///< auto: the style's
  double drop_path = 0, rope_shift = 0, rope_jitter = 0, rope_rescale = 0;
  std::string drop_path_form, stem, fit, init_from;
  // facts that no tensor's shape shows (weights/facts.hpp); auto: the style's, or what the weights of init_from say
  Auto<double> norm_eps, rope_base;
  Auto<int64_t> stem_padding;
  std::string qkv_bias, position_resize, rope_periods, activation;
  std::string mean, std;  ///< three numbers with commas, or auto: views.profile's
  std::string recompute;  ///< VitConfig::recompute
  int64_t recompute_every = 1;
  bool operator==(const ModelConfig&) const = default;
};

}  // namespace dinoxx
