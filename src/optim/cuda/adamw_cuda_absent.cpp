// The GPU optimizer of a build without CUDA.
#include "adamw_cuda.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx::optim_detail {
namespace {

[[noreturn]] void absent() {
  fail("optimizer on a GPU", "a build with CUDA", "one without",
       "Run launch/setup.sh --cuda and configure with -DDINOXX_CUDA=ON, or train on the CPU");
}

}  // namespace

void adamw_cuda(const std::vector<AdamWRun>&, FlatState&, const at::Tensor&, const at::Tensor&) {
  absent();
}
void ema_cuda(FlatState&, const FlatState&, double, const FlatRange&) {
  absent();
}

}  // namespace dinoxx::optim_detail
