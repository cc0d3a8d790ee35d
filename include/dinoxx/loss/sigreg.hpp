#pragma once
#include <ATen/core/Tensor.h>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx {

/// SIGReg of LeJEPA (Balestriero and LeCun 2025, arXiv 2511.08544): how far the features of a batch are from an isotropic Gaussian. Along
/// each of `directions` [D, S] (unit columns), the Epps-Pulley statistic N * integral over t in [-3, 3] of |phi(t) - exp(-t^2 / 2)|^2
/// exp(-t^2 / 2) dt by the trapezoidal rule with 17 points on [0, 3], phi the empirical characteristic function of the N images of all
/// ranks; the mean over directions and views.
///
/// z [V, B, D], not normalised, B equal on all ranks; computed in float32 (float64 for float64). Only the sums of sines and cosines
/// [V, S, 17] travel between ranks; the mean over ranks and its gradient are the whole batch's. Memory: [V, B, S, 17] three times.
/// Error for other shapes.
at::Tensor sigreg(const at::Tensor& z, const at::Tensor& directions, Communicator& comm);

/// `count` unit vectors [width, count] in float64 on the CPU, uniform over the sphere: a function of (seed, step).
at::Tensor sigreg_directions(int64_t width, int64_t count, uint64_t seed, uint64_t step);

}  // namespace dinoxx
