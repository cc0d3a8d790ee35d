#include "kmeans.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/rng.hpp"
#include "base/stop_scope.hpp"
#include "dinoxx/base/error.hpp"
#include "eval/features/lanes.hpp"
#include "knn.hpp"

namespace dinoxx::eval {
namespace {

constexpr int kRounds = 100;
constexpr int64_t kPiece = 4096;  // rows whose similarities are held at a time

struct Assignment {
  std::vector<int32_t> cluster;
  std::vector<float> similarity;
};

Assignment assign(const at::Tensor& points, const at::Tensor& centres) {
  const int64_t n = points.size(0), k = centres.size(0);
  Assignment result{std::vector<int32_t>(n), std::vector<float>(n)};
  for (int64_t first = 0; first < n; first += kPiece) {
    const int64_t count = std::min(kPiece, n - first);
    const at::Tensor similarity = at::mm(points.narrow(0, first, count), centres.t()).contiguous();
    const float* rows = similarity.data_ptr<float>();
    for (int64_t i = 0; i < count; ++i) {
      const float* best = std::max_element(rows + i * k, rows + (i + 1) * k);
      result.cluster[first + i] = static_cast<int32_t>(best - (rows + i * k));
      result.similarity[first + i] = *best;
    }
  }
  return result;
}

at::Tensor first_centres(const at::Tensor& points, int k, uint64_t seed, uint64_t restart) {
  const int64_t n = points.size(0);
  std::vector<double> distance(n, 4.0);  // squared, to the nearest centre so far
  std::vector<int64_t> chosen;
  CounterRng rng(seed, restart, lane(Lane::kKmeans), Purpose::kEval);
  for (int c = 0; c < k; ++c) {
    int64_t pick = 0;
    double total = 0;
    for (const double d : distance) total += d;
    if (total > 0) {
      double left = rng.uniform() * total;
      for (pick = 0; pick + 1 < n && (left -= distance[pick]) >= 0; ++pick) {
      }
    } else {  // fewer distinct points than clusters
      pick = static_cast<int64_t>(rng.below(static_cast<uint64_t>(n)));
    }
    chosen.push_back(pick);
    const at::Tensor similarity = at::mv(points, points[pick]);
    const float* s = similarity.data_ptr<float>();
    for (int64_t i = 0; i < n; ++i) distance[i] = std::min(distance[i], std::max(0.0, 2.0 - 2.0 * static_cast<double>(s[i])));
    distance[pick] = 0;
  }
  return points.index_select(0, at::tensor(chosen, at::kLong));
}

}  // namespace

Clusters spherical_kmeans(const at::Tensor& points, int k, uint64_t seed, uint64_t restart) {
  const int64_t n = points.size(0), dim = points.size(1);
  if (k < 1 || k > n) fail("k-means", fmt::format("1 to {} clusters", n), std::to_string(k), "There are more clusters than images.");
  Clusters result;
  result.centres = first_centres(points, k, seed, restart);
  const float* rows = points.data_ptr<float>();
  std::vector<int32_t> before;
  for (;;) {
    StopScope::check();
    Assignment now = assign(points, result.centres);
    double total = 0;
    for (const float s : now.similarity) total += s;
    result.similarity = total / static_cast<double>(n);
    result.converged = now.cluster == before;
    if (result.converged || result.iterations == kRounds) return result;
    ++result.iterations;
    at::Tensor sum = at::zeros({k, dim}, at::kDouble);
    double* sums = sum.data_ptr<double>();
    std::vector<int64_t> size(k);
    for (int64_t i = 0; i < n; ++i) {
      double* s = sums + now.cluster[i] * dim;
      for (int64_t j = 0; j < dim; ++j) s[j] += rows[i * dim + j];
      ++size[now.cluster[i]];
    }
    for (int c = 0; c < k; ++c) {
      if (size[c] > 0) continue;
      const int64_t far = std::min_element(now.similarity.begin(), now.similarity.end()) - now.similarity.begin();
      now.similarity[far] = 2;  // taken
      for (int64_t j = 0; j < dim; ++j) sums[c * dim + j] = rows[far * dim + j];
    }
    result.centres = normalize_rows(sum).to(at::kFloat);
    before = std::move(now.cluster);
  }
}

std::vector<int32_t> nearest_centre(const at::Tensor& points, const at::Tensor& centres) {
  return assign(points, centres).cluster;
}

}  // namespace dinoxx::eval
