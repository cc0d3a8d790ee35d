// The GPU figures of a build without CUDA.
#include "dinoxx/base/error.hpp"
#include "figures.hpp"

namespace dinoxx::step_detail {

void fill_figures_cuda(const FigureTable&, const at::Tensor&) {
  fail("figures of a step on a GPU", "a build with CUDA", "one without",
       "Run launch/setup.sh --cuda and configure with -DDINOXX_CUDA=ON, or train on the CPU");
}

}  // namespace dinoxx::step_detail
