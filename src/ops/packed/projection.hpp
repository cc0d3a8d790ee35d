// The projection behind attention: one product a group, into the rows of all.
#pragma once
#include "node.hpp"

namespace dinoxx::ops {

/// mixed [.., D] of each group, contiguous; bias may be undefined.
at::Tensor run_projection(at::TensorList mixed, const at::Tensor& weight, const at::Tensor& bias);

struct ProjectionGrads {
  at::Tensor weight;
  variable_list mixed;
};
/// dy: of the rows of all groups.
ProjectionGrads run_projection_backward(const at::Tensor& dy, at::TensorList mixed, const at::Tensor& weight);

}  // namespace dinoxx::ops
