#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "eval/features/features.hpp"

namespace dinoxx::eval {

/// A linear map after which no direction of the features counts more than another for its spread alone: with S the covariance of some
/// images' features, m their mean and T = (1 - share) S + share trace(S) / D I, a feature x becomes the row (x - m) T^(-1/2), up to a
/// rotation that no distance sees (the inverse of T's Cholesky factor). Shrinkage towards the identity (Ledoit & Wolf 2004, of whose weight
/// by a formula images that were not learned from ask for more) keeps directions that few images show from being blown up. No labels.
struct Whitening {
  at::Tensor mean;    ///< [D] float32
  at::Tensor matrix;  ///< [D, D] float32

  /// Rows of length 1. [N, D] float32
  at::Tensor rows(const at::Tensor& features) const;
  /// The same in blocks (blocks.hpp), on every rank. Collective.
  at::Tensor rows(const at::Tensor& features, int threads, Communicator& comm) const;
};

/// From features [N, D] float32, equal on every rank. Features that are all the same are only centred. The same at any number of ranks and
/// threads. Work: N D^2 / 2 and D^3 multiplications. Memory: three times D^2 float64. Error above kWidestWhitened.
/// Collective.
Whitening fit_whitening(const at::Tensor& features, double share, int threads, Communicator& comm);

/// Learns it from the first of `splits` and puts whitened rows in the place of each that is defined. Collective.
Whitening whiten(const std::vector<at::Tensor*>& splits, double share, int threads, Communicator& comm);

/// `embedder` with its rows whitened.
Embedder whitened(Embedder embedder, const Whitening& whitening);

}  // namespace dinoxx::eval
