#include "dinoxx/loss/byol_loss.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include "dinoxx/base/error.hpp"
#include "loss_common.hpp"

namespace dinoxx {

at::Tensor byol_loss(const at::Tensor& prediction, const at::Tensor& target) {
  if (prediction.dim() != 3 || target.dim() != 3 || prediction.size(1) != target.size(1) || prediction.size(2) != target.size(2) ||
      target.size(0) < 1 || prediction.size(0) < std::max<int64_t>(target.size(0), 2) || prediction.size(1) < 1)
    fail("BYOL loss", "predictions [V, B, D] of at least two views and targets [G, B, D] of the first of them",
         fmt::format("[{}] and [{}]", fmt::join(prediction.sizes(), ", "), fmt::join(target.sizes(), ", ")),
         "Each view is compared with the targets of the others");
  const int64_t views = prediction.size(0), targets = target.size(0);
  const at::Tensor p = loss_common::normalized(prediction), t = loss_common::normalized(target.detach());
  at::Tensor others = t.sum(0, /*keepdim=*/true).expand_as(p).clone();  // for each view the sum of the other views' targets
  others.narrow(0, 0, targets).sub_(t);
  const auto pairs = static_cast<double>(targets * (views - 1));
  return 2.0 * pairs - (p * others).sum() * (2.0 / static_cast<double>(p.size(1)));
}

}  // namespace dinoxx
