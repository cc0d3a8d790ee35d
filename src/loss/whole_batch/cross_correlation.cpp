#include "cross_correlation.hpp"

#include <ATen/ATen.h>

#include "all_images.hpp"

namespace dinoxx {

CrossCorrelation cross_correlation(const at::Tensor& z, Communicator& comm) {
  constexpr double kEps = 1e-5;
  loss_common::check_two_views("Barlow Twins", z, comm);
  const at::Tensor x = loss_common::of_all_images(z, comm), centred = x - x.mean(1, /*keepdim=*/true);
  const at::Tensor standard = centred * (centred.square().mean(1, /*keepdim=*/true) + kEps).rsqrt();
  const auto images = static_cast<double>(x.size(1));
  return {
      .invariance = (1.0 - (standard[0] * standard[1]).mean(0)).square().sum(),
      .redundancy = loss_common::squares_off_diagonal(standard[0], standard[1]) / (images * images),
  };
}

}  // namespace dinoxx
