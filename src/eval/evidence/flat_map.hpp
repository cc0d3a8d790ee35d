#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

/// Places of points of many dimensions on a plane, to look at.
namespace dinoxx::eval {

struct Principal {
  at::Tensor places;              ///< [N, 2] float64
  std::vector<double> explained;  ///< shares of the variance, 2
};
/// The first two principal components of x [N, D], N >= 3; of each the largest loading is positive.
Principal principal_places(const at::Tensor& x);

/// t-SNE (van der Maaten & Hinton 2008) in its exact form, begun at the principal components with a deviation of 1e-4 (Kobak & Berens
/// 2019), so that nothing is drawn: 250 steps with 12-fold attraction, 500 without, momentum 0.5 and then 0.8, a gain for each coordinate,
/// rate max(N / 48, 50). x [N, D] float, N >= 4; perplexity at most (N - 1) / 3. N^2 x (D + 750 x about 15) operations. [N, 2] float64.
at::Tensor tsne_places(const at::Tensor& x, double perplexity);
/// The perplexity for N points: 30, less for few.
double tsne_perplexity(int64_t points);

/// Mean share of the k nearest points in x [N, D] that are among the k nearest in `places`, N > k. By chance k / (N - 1).
double kept_neighbours(const at::Tensor& x, const at::Tensor& places, int64_t k);

}  // namespace dinoxx::eval
