// Tensors to raw pointers for the kernels of adamw_kernels.cu.
#include "adamw_cuda.hpp"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include "adamw_kernels.hpp"
#include "dinoxx/base/error.hpp"
#include "kernels/cuda_stream.hpp"

namespace dinoxx::optim_detail {
namespace {

void require_float(const FlatState& state, const char* what) {
  if (state.master.scalar_type() != at::kFloat)
    fail(what, "float32 masters on a GPU", c10::toString(state.master.scalar_type()), "float64 is for tests on the CPU");
}

uint16_t* bf16_copy(const FlatState& state) {
  return state.compute.scalar_type() == at::kBFloat16 ? static_cast<uint16_t*>(state.compute.data_ptr()) : nullptr;
}

}  // namespace

void adamw_cuda(const std::vector<AdamWRun>& runs, FlatState& state, const at::Tensor& exp_avg, const at::Tensor& exp_avg_sq) {
  require_float(state, "AdamW");
  c10::cuda::CUDAGuard guard(state.master.device());
  std::vector<CudaRun> table;
  table.reserve(runs.size());
  for (const AdamWRun& run : runs) table.push_back({run.begin, run.numel, run.constants});
  uint16_t* const bf16 = bf16_copy(state);
  check_launch(launch_adamw(table.data(), static_cast<int>(table.size()), state.master.data_ptr<float>(), state.grad.data_ptr<float>(),
                            exp_avg.data_ptr<float>(), exp_avg_sq.data_ptr<float>(), bf16, current_stream()),
               "AdamW");
  if (!bf16) state.cast();
}

void ema_cuda(FlatState& teacher, const FlatState& student, double momentum, const FlatRange& range) {
  require_float(teacher, "ema_update");
  c10::cuda::CUDAGuard guard(teacher.master.device());
  uint16_t* const bf16 = bf16_copy(teacher);
  check_launch(launch_average(teacher.master.data_ptr<float>() + range.begin, student.master.data_ptr<float>() + range.begin,
                              bf16 ? bf16 + range.begin : nullptr, range.count, static_cast<float>(momentum),
                              static_cast<float>(1.0 - momentum), current_stream()),
               "ema_update");
}

}  // namespace dinoxx::optim_detail
