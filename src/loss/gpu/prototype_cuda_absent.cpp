// The losses over prototypes on a GPU, of a build without CUDA.
#include "dinoxx/base/error.hpp"
#include "prototype_cuda.hpp"

namespace dinoxx::loss_cuda {
namespace {

[[noreturn]] void absent() {
  fail("losses on a GPU", "a build with CUDA", "one without",
       "Run launch/setup.sh --cuda and configure with -DDINOXX_CUDA=ON, or train on the CPU");
}

}  // namespace

bool takes(std::initializer_list<at::Tensor>, const at::Tensor&) {
  return false;
}
LossTensors dino(const at::Tensor&, const at::Tensor&, const at::Tensor&, Temperatures, double, const at::Tensor&) {
  absent();
}
LossTensors patch(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, Temperatures, double, const at::Tensor&) {
  absent();
}
void scale(const at::Tensor&, const at::Tensor&) {
  absent();
}
std::pair<at::Tensor, at::Tensor> log_sum_exp(const at::Tensor&, double) {
  absent();
}
at::Tensor softmax_sums(const at::Tensor&, const at::Tensor&, double, const at::Tensor&) {
  absent();
}
at::Tensor weighted_sums(const at::Tensor&, const at::Tensor&) {
  absent();
}
void rescale(at::Tensor&, const at::Tensor&, const at::Tensor&) {
  absent();
}
at::Tensor first_centre(const at::Tensor&, const at::Tensor&, double) {
  absent();
}
void next_centre(at::Tensor&, const at::Tensor&, double) {
  absent();
}

}  // namespace dinoxx::loss_cuda
