#include "transductive.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace dinoxx::eval {
namespace {

// [rows, points] float64 from a product in the type of the features; never below 0 by rounding
at::Tensor squared_distances(const at::Tensor& rows, const at::Tensor& points) {
  return (rows.square().sum(1, /*keepdim=*/true) + points.square().sum(1) - 2 * at::mm(rows, points.t())).clamp_min(0).to(at::kDouble);
}

// [n, classes], 1 where the image is of the class
at::Tensor one_hot(std::span<const int32_t> labels, int classes) {
  const at::Tensor rows = at::tensor(at::ArrayRef<int32_t>(labels.data(), labels.size()), at::kLong);
  return at::zeros({rows.size(0), classes}, at::kDouble).scatter_(1, rows.unsqueeze(1), 1.0);
}

// Mean of the rows of `points`, weighted per class: weights [n, classes] float64 -> [classes, D] in the type of the points
at::Tensor weighted_means(const at::Tensor& points, const at::Tensor& weights) {
  return at::mm((weights / weights.sum(0)).t().to(points.scalar_type()), points);
}

// The nearest others of each query, [N, neighbours] row by row.
std::vector<int64_t> nearest_others(const at::Tensor& queries, int64_t neighbours) {
  const int64_t n = queries.size(0);
  const at::Tensor distances = squared_distances(queries, queries).contiguous();
  std::vector<int64_t> result, order(n);
  for (int64_t q = 0; q < n; ++q) {
    const double* row = distances.const_data_ptr<double>() + q * n;
    std::iota(order.begin(), order.end(), int64_t{0});
    std::swap(order[0], order[q]);  // out of the way: itself is no neighbour
    std::partial_sort(order.begin() + 1, order.begin() + 1 + neighbours, order.end(),
                      [&](int64_t a, int64_t b) { return row[a] != row[b] ? row[a] < row[b] : a < b; });
    result.insert(result.end(), order.begin() + 1, order.begin() + 1 + neighbours);
  }
  return result;
}

// softmax of `from` into `to`, each of `classes` numbers
void softmax(const double* from, int classes, double* to) {
  const double top = *std::max_element(from, from + classes);
  double sum = 0;
  for (int c = 0; c < classes; ++c) sum += to[c] = std::exp(from[c] - top);
  for (int c = 0; c < classes; ++c) to[c] /= sum;
}

}  // namespace

at::Tensor soft_kmeans_scores(const at::Tensor& support, std::span<const int32_t> labels, int classes, const at::Tensor& queries,
                              double scale) {
  const at::Tensor of_support = one_hot(labels, classes), means = weighted_means(support, of_support);
  const at::Tensor of_queries = at::softmax(-scale * squared_distances(queries, means), 1);
  return -squared_distances(queries, weighted_means(at::cat({support, queries}), at::cat({of_support, of_queries})));
}

at::Tensor laplacian_assignment(const at::Tensor& support, std::span<const int32_t> labels, int classes, const at::Tensor& queries,
                                const LaplacianOptions& options) {
  const int64_t n = queries.size(0), neighbours = std::min<int64_t>(options.neighbours, n - 1);
  const at::Tensor costs = squared_distances(queries, weighted_means(support, one_hot(labels, classes))).contiguous();
  const double* cost = costs.const_data_ptr<double>();
  const std::vector<int64_t> near = nearest_others(queries, neighbours);
  const at::Tensor result = at::empty({n, classes}, at::kDouble);
  double* now = result.data_ptr<double>();
  std::vector<double> before(n * classes), score(classes);
  for (int round = 0; round <= options.rounds; ++round) {
    if (round > 0) std::copy_n(now, n * classes, before.begin());
    for (int64_t q = 0; q < n; ++q) {
      for (int c = 0; c < classes; ++c) {
        score[c] = -cost[q * classes + c];
        for (int64_t i = 0; round > 0 && i < neighbours; ++i) score[c] += options.lambda * before[near[q * neighbours + i] * classes + c];
      }
      softmax(score.data(), classes, now + q * classes);
    }
  }
  return result;
}

}  // namespace dinoxx::eval
