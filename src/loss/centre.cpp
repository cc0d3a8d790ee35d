#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "dinoxx/core/error.hpp"
#include "dinoxx/loss/dino_loss.hpp"

namespace dinoxx {

Centre::Centre(int64_t out_dim, double momentum, at::ScalarType dtype) : value_(at::zeros({out_dim}, dtype)), momentum_(momentum) {
  if (!(momentum >= 0.0 && momentum <= 1.0))
    fail_usage("centre momentum", "a value in [0, 1]", fmt::format("{}", momentum), "Correct the configuration");
}

void Centre::update(const at::Tensor& sum, int64_t rows) {
  if (rows < 1 || sum.sizes() != value_.sizes())
    fail("centre update", fmt::format("a sum of {} values over at least one row", value_.numel()),
         fmt::format("[{}] over {} rows", fmt::join(sum.sizes(), ", "), rows), "This is a defect of the program");
  at::NoGradGuard no_grad;
  // by steps, as the published code rounds: centre * m + (sum / rows) * (1 - m)
  value_.mul_(momentum_).add_((sum.to(value_.scalar_type()) / static_cast<double>(rows)).mul_(1.0 - momentum_));
}

}  // namespace dinoxx
