// Clipping, SGD and LARS on a GPU, in a build without CUDA.
#include "dinoxx/base/error.hpp"
#include "flat_cuda.hpp"

namespace dinoxx::optim_detail {
namespace {

[[noreturn]] void absent() {
  fail("optimizer on a GPU", "a build with CUDA", "one without",
       "Run launch/setup.sh --cuda and configure with -DDINOXX_CUDA=ON, or train on the CPU");
}

}  // namespace

void clip_cuda(const std::vector<ClipSegment>&, double, const at::Tensor&, const at::Tensor&, const SumOverShards&) {
  absent();
}
void sgd_cuda(const std::vector<SgdSegment>&, const LarsRule*, double, FlatState&, const at::Tensor&) {
  absent();
}

}  // namespace dinoxx::optim_detail
