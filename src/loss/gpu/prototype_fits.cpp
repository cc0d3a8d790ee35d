// Which tensors the CUDA kernels of the losses can read: the same answer in every build.
#include "loss/loss_common.hpp"
#include "prototype_cuda.hpp"
#include "prototype_limits.hpp"

namespace dinoxx::loss_cuda {
namespace {

bool readable(const at::Tensor& t) {
  constexpr uintptr_t kBytes = 16;
  return t.is_contiguous() && reinterpret_cast<uintptr_t>(t.const_data_ptr()) % kBytes == 0;
}

}  // namespace

bool fits(std::initializer_list<at::Tensor> logits, const at::Tensor& centre) {
  const at::ScalarType type = logits.begin()->scalar_type();
  const int64_t vector = type == at::kFloat ? 4 : 8;
  if (type != at::kFloat && type != at::kBFloat16) return false;
  for (const at::Tensor& t : logits)
    if (t.scalar_type() != type || t.size(-1) % vector != 0 || t.size(-1) > kMostPrototypes || !readable(t)) return false;
  return !centre.defined() || (centre.scalar_type() == at::kFloat && readable(centre));
}

at::Tensor scaled(const at::Tensor& gradient, const at::Tensor& weight) {
  if (!takes({gradient}) || weight.device() != gradient.device() || weight.scalar_type() != at::kFloat)
    return loss_common::scaled_gradient(gradient, weight);
  scale(gradient, weight);
  gradient.unsafeGetTensorImpl()->bump_version();  // so that autograd refuses a second backward
  return gradient;
}

}  // namespace dinoxx::loss_cuda
