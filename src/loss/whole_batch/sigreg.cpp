#include "dinoxx/loss/sigreg.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "base/rng.hpp"
#include "comm/gather.hpp"
#include "dinoxx/base/error.hpp"
#include "loss/loss_common.hpp"
#include "ops/to_device.hpp"

namespace dinoxx {
namespace {

// The published integral: the integrand is even, so that the half of it is taken twice.
constexpr int64_t kPoints = 17;
constexpr double kEnd = 3.0;

}  // namespace

at::Tensor sigreg(const at::Tensor& z, const at::Tensor& directions, Communicator& comm) {
  if (z.dim() != 3 || z.size(0) < 1 || z.size(1) < 1 || directions.dim() != 2 || directions.size(0) != z.size(2) || directions.size(1) < 1)
    fail("SIGReg", "features [V, B, D] and directions [D, S]",
         fmt::format("[{}] and [{}]", fmt::join(z.sizes(), ", "), fmt::join(directions.sizes(), ", ")), "This is a defect of the program");
  const at::Tensor x = z.to(loss_common::wide_type(z));
  const at::Tensor t = at::linspace(0.0, kEnd, kPoints, x.options()), normal = (t.square() * -0.5).exp();
  at::Tensor weights = normal * (2.0 * kEnd / (kPoints - 1));
  weights[0].mul_(0.5);
  weights[kPoints - 1].mul_(0.5);
  const at::Tensor along = at::matmul(x, to_device(directions.to(x.scalar_type()), x.device()));
  const at::Tensor angles = along.unsqueeze(-1) * t;                               // [V, B, S, 17]
  const at::Tensor own = at::stack({angles.cos().mean(1), angles.sin().mean(1)});  // [2, V, S, 17]
  const at::Tensor phi = gather_rows(own.unsqueeze(0), comm).mean(0);
  const at::Tensor distance = (phi[0] - normal).square() + phi[1].square();
  return at::matmul(distance, weights).mean() * static_cast<double>(x.size(1) * comm.size());
}

at::Tensor sigreg_directions(int64_t width, int64_t count, uint64_t seed, uint64_t step) {
  at::Tensor directions = at::empty({count, width}, at::kDouble);
  auto* out = directions.mutable_data_ptr<double>();
  for (int64_t i = 0; i < count; ++i) {
    CounterRng rng(seed, step, static_cast<uint32_t>(i), Purpose::kDirections);
    for (int64_t j = 0; j < width; ++j) *out++ = rng.normal();
  }
  return (directions / at::linalg_vector_norm(directions, 2, -1, /*keepdim=*/true)).t();
}

}  // namespace dinoxx
