#include "mean_target.hpp"

#include <fmt/ranges.h>

#include "dinoxx/base/error.hpp"
#include "loss_common.hpp"

namespace dinoxx {

at::Tensor mean_target_loss(const at::Tensor& prediction, const at::Tensor& projection) {
  if (prediction.dim() != 3 || prediction.sizes() != projection.sizes() || prediction.size(0) < 2 || prediction.numel() == 0)
    fail("mean target loss", "predictions and projections [V, B, D] of the same two views at least",
         fmt::format("[{}] and [{}]", fmt::join(prediction.sizes(), ", "), fmt::join(projection.sizes(), ", ")),
         "Each view is compared with the mean of the others");
  const at::Tensor z = projection.detach().to(loss_common::wide_type(projection)), others = z.sum(0, /*keepdim=*/true) - z;
  return 1 - (loss_common::normalized(prediction) * loss_common::normalized(others)).sum(-1).mean();
}

}  // namespace dinoxx
