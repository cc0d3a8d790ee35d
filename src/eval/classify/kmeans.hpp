#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace dinoxx::eval {

struct Clusters {
  at::Tensor centres;     ///< [k, D] float32, length 1
  double similarity = 0;  ///< mean cosine of a point and its centre: what is maximised
  int iterations = 0;
  bool converged = false;  ///< no point changed its cluster
};

/// k-means on the sphere (Dhillon and Modha 2001): points go to the centre of largest cosine (equal: the lower one), centres are the
/// directions of their points' sums. First centres by k-means++ (Arthur and Vassilvitskii 2007) with the squared distance 2 - 2 cos; an
/// empty cluster takes the point that is farthest from its centre. At most 100 rounds. points [N, D] float32, rows of length 1, 1 <= k <=
/// N. A function of (points, k, seed, restart) alone.
Clusters spherical_kmeans(const at::Tensor& points, int k, uint64_t seed, uint64_t restart);

/// The centre of largest cosine of each row; equal: the lower one.
std::vector<int32_t> nearest_centre(const at::Tensor& points, const at::Tensor& centres);

}  // namespace dinoxx::eval
