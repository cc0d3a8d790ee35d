// KoLeo on a GPU, of a build without CUDA.
#include "dinoxx/base/error.hpp"
#include "koleo_cuda.hpp"

namespace dinoxx::loss_cuda {
namespace {

[[noreturn]] void absent() {
  fail("KoLeo on a GPU", "a build with CUDA", "one without",
       "Run launch/setup.sh --cuda and configure with -DDINOXX_CUDA=ON, or train on the CPU");
}

}  // namespace

bool takes_koleo(const at::Tensor&) {
  return false;
}
KoleoForward koleo_forward(const at::Tensor&, int64_t, int64_t, double) {
  absent();
}
at::Tensor koleo_backward(const KoleoForward&, int64_t, double, const at::Tensor&, at::ScalarType) {
  absent();
}

}  // namespace dinoxx::loss_cuda
