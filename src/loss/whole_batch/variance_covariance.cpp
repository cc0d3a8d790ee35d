#include "variance_covariance.hpp"

#include <ATen/ATen.h>

#include "all_images.hpp"

namespace dinoxx {

VarianceCovariance variance_covariance(const at::Tensor& z, Communicator& comm) {
  constexpr double kEps = 1e-4;
  loss_common::check_two_views("VICReg", z, comm);
  const at::Tensor x = loss_common::of_all_images(z, comm), centred = x - x.mean(1, /*keepdim=*/true);
  const auto degrees = static_cast<double>(x.size(1) - 1), width = static_cast<double>(x.size(2));
  const at::Tensor deviation = (centred.square().sum(1) / degrees + kEps).sqrt();
  return {
      .invariance = (x[0] - x[1]).square().mean(),
      .variance = at::relu(1.0 - deviation).mean(),
      .covariance = loss_common::squares_off_diagonal(centred, centred).sum() / (degrees * degrees * width),
  };
}

}  // namespace dinoxx
