#include "gradient_gather.hpp"

#include <ATen/ATen.h>

namespace dinoxx::parallel_detail {

void gather_gradients(const std::vector<FreshGradient>& gradients, const at::Tensor& flat) {
  const at::NoGradGuard no_grad;
  if (flat.is_cuda() && flat.scalar_type() == at::kFloat) {
    std::vector<FreshGradient> ready = gradients;
    for (FreshGradient& gradient : ready) {
      const at::ScalarType type = gradient.values.scalar_type();
      gradient.values = (type == at::kBFloat16 ? gradient.values : gradient.values.to(at::kFloat)).contiguous();
    }
    return gather_cuda(ready, flat);
  }
  for (const FreshGradient& gradient : gradients) {
    at::Tensor place = flat.narrow(0, gradient.offset, gradient.values.numel()).view(gradient.values.sizes());
    if (gradient.add)
      place.add_(gradient.values);
    else
      place.copy_(gradient.values);
  }
}

}  // namespace dinoxx::parallel_detail
