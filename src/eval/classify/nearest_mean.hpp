#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace dinoxx::eval {

/// Nearest class mean: score = minus the squared Euclidean distance to the mean of the class's images; minus infinity for a class without
/// images. support [n, D], labels [n] in [0, classes), queries [N, D], of one type -> [N, classes] float64, from
/// means in float64 and products in the type of the features.
at::Tensor nearest_mean_scores(const at::Tensor& support, std::span<const int32_t> labels, int classes, const at::Tensor& queries);

/// What SimpleShot does to features before nearest class means (Wang et al. 2019, CL2N): minus `mean` [D], then rows of length 1.
at::Tensor centre_and_normalize(const at::Tensor& features, const at::Tensor& mean);

}  // namespace dinoxx::eval
