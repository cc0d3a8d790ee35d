#include "figures_kernels.hpp"
#include "kernels/cuda_launch.hpp"

namespace dinoxx::step_detail {
namespace {

__device__ bool is_finite(double x) {
  return x - x == 0;
}

// One block with a thread for each element.
__global__ void figures(const __grid_constant__ FigureTable table, double* out) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < table.elements) {
    const FigureTable::Element& e = table.element[i];
    out[e.to] = e.is_double ? *static_cast<const double*>(e.from) : static_cast<double>(*static_cast<const float*>(e.from));
  }
  __syncthreads();
  if (i > 0) return;
  double loss = 0;
  bool finite = true;
  for (int t = 0; t < table.terms; ++t) {
    const double value = out[table.first_term + t];
    loss += table.weight[t] * value;
    finite = finite && is_finite(value);
  }
  out[table.flag] = finite ? 0 : 1;
  out[table.loss] = finite ? loss : 0;
}

}  // namespace

cudaError_t launch_fill_figures(const FigureTable& table, double* out, cudaStream_t stream) {
  static_assert(sizeof(FigureTable) < 4000, "arguments of a kernel");
  DINOXX_LAUNCH_TOGETHER(figures, 1, kMostElements, stream)(table, out);
  return cudaGetLastError();
}

}  // namespace dinoxx::step_detail
