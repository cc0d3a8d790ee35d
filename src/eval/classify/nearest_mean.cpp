#include "nearest_mean.hpp"

#include <ATen/ATen.h>

#include <limits>

#include "knn.hpp"

namespace dinoxx::eval {

at::Tensor nearest_mean_scores(const at::Tensor& support, std::span<const int32_t> labels, int classes, const at::Tensor& queries) {
  const at::Tensor rows = at::tensor(at::ArrayRef<int32_t>(labels.data(), labels.size()), at::kInt);
  at::Tensor count = at::zeros({classes}, at::kDouble), sum = at::zeros({classes, support.size(1)}, at::kDouble);
  count.index_add_(0, rows, at::ones({rows.size(0)}, at::kDouble));
  sum.index_add_(0, rows, support.to(at::kDouble));
  const at::Tensor means = (sum / count.clamp_min(1).unsqueeze(1)).to(queries.scalar_type());
  const at::Tensor absent = at::zeros({classes}, at::kDouble).masked_fill_(count == 0, -std::numeric_limits<double>::infinity());
  return (2 * at::mm(queries, means.t()) - means.square().sum(1) - queries.square().sum(1, /*keepdim=*/true)).to(at::kDouble) + absent;
}

at::Tensor centre_and_normalize(const at::Tensor& features, const at::Tensor& mean) {
  return normalize_rows(features - mean);
}

}  // namespace dinoxx::eval
