// Tensors to raw pointers for figures_kernels.cu.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include "figures.hpp"
#include "figures_kernels.hpp"
#include "kernels/cuda_stream.hpp"

namespace dinoxx::step_detail {

void fill_figures_cuda(const FigureTable& table, const at::Tensor& out) {
  c10::cuda::CUDAGuard guard(out.device());
  check_launch(launch_fill_figures(table, out.data_ptr<double>(), current_stream()), "figures of a step");
}

}  // namespace dinoxx::step_detail
