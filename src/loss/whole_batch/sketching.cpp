#include "sketching.hpp"

#include <ATen/ATen.h>

#include "all_images.hpp"
#include "ops/to_device.hpp"

namespace dinoxx {

Sketching sketching(const at::Tensor& z, const at::Tensor& directions, Communicator& comm) {
  constexpr double kEps = 1e-4, kTiny = 1e-12;  // the latter: a deviation of 0 has a gradient
  if (z.dim() != 3 || z.size(0) < 1 || z.size(1) * comm.size() < 2 || directions.dim() != 2 || directions.size(0) != z.size(2) ||
      directions.size(1) < 1)
    fail("VISReg", "features [V, B, D] of at least two images over all ranks and directions [D, S]",
         fmt::format("[{}] and [{}]", fmt::join(z.sizes(), ", "), fmt::join(directions.sizes(), ", ")), "One image has no statistics");
  const at::Tensor x = loss_common::of_all_images(z, comm), mean = x.mean(1, /*keepdim=*/true), centred = x - mean;  // [V, N, D]
  const at::Tensor deviation = (centred.square().mean(1, /*keepdim=*/true) + kTiny).sqrt();
  const at::Tensor along = at::matmul(centred / (deviation.detach() + kEps), to_device(directions.to(x.scalar_type()), x.device()));
  const int64_t images = x.size(1);
  const at::Tensor places = at::arange(1, images + 1, x.options().dtype(at::kDouble)) / static_cast<double>(images + 1);
  const at::Tensor quantiles = at::special_ndtri(places).to(x.scalar_type()).unsqueeze(-1);  // [N, 1]
  return {
      .centre = mean.square().mean(),
      .scale = (1.0 - deviation).square().mean(),
      .shape = (std::get<0>(along.sort(1)) - quantiles).square().mean(),
  };
}

}  // namespace dinoxx
