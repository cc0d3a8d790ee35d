// The GPU gradients of a build without CUDA.
#include "dinoxx/base/error.hpp"
#include "gradient_gather.hpp"

namespace dinoxx::parallel_detail {

void gather_cuda(const std::vector<FreshGradient>&, const at::Tensor&) {
  fail("gradients on a GPU", "a build with CUDA", "one without",
       "Run launch/setup.sh --cuda and configure with -DDINOXX_CUDA=ON, or train on the CPU");
}

}  // namespace dinoxx::parallel_detail
