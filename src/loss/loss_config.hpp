#pragma once
#include <cstdint>
#include <string>

#include "config/auto.hpp"

namespace dinoxx {

/// Keys of the section [loss].
struct LossConfig {
  double student_temp = 0, centre_momentum = 0;
  std::string centring, patch_centring;
  int64_t rows_at_once = 0, sinkhorn_iterations = 0, koleo_group = 0, koleo_top_k = 0;
  Auto<double> patch_weight, koleo_weight;
  double temp = 0, local_weight = 0;
  Auto<double> coding_weight, coding_eps;
  double invariance_weight = 0, variance_weight = 0, covariance_weight = 0;
  double correlation_weight = 0, redundancy_weight = 0, codes_temp = 0;
  Auto<double> sigreg_weight;
  int64_t sigreg_directions = 0, sketch_directions = 0;
  double sketch_weight = 0, sketch_shape = 0;
  Auto<double> local_weight_end;  ///< auto: local_weight
  bool operator==(const LossConfig&) const = default;
};

}  // namespace dinoxx
