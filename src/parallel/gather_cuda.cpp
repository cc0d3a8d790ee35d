// Tensors to raw pointers for gather_kernels.cu.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include "gather_kernels.hpp"
#include "gradient_gather.hpp"
#include "kernels/cuda_stream.hpp"

namespace dinoxx::parallel_detail {

void gather_cuda(const std::vector<FreshGradient>& gradients, const at::Tensor& flat) {
  c10::cuda::CUDAGuard guard(flat.device());
  std::vector<GatherRun> runs;
  for (const FreshGradient& gradient : gradients) {
    const at::Tensor& values = gradient.values;
    runs.push_back({values.const_data_ptr(), gradient.offset, values.numel(), values.scalar_type() == at::kBFloat16, gradient.add});
  }
  check_launch(launch_gather(runs.data(), static_cast<int>(runs.size()), flat.data_ptr<float>(), current_stream()), "gradients");
}

}  // namespace dinoxx::parallel_detail
