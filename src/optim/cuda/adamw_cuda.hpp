// The optimizer's passes over flat buffers on a GPU. A build without CUDA links functions that say so.
#pragma once
#include <vector>

#include "kernels/optim/flat_kernels.hpp"
#include "optim/ema.hpp"

namespace dinoxx::optim_detail {

/// A range of the flat buffers with one set of constants.
struct AdamWRun {
  int64_t begin = 0, numel = 0;
  AdamWConstants<float> constants;
};
/// All on the current stream of the buffers' device. float32 masters; compute copy float32 (the master itself) or bfloat16.
void adamw_cuda(const std::vector<AdamWRun>& runs, FlatState& state, const at::Tensor& exp_avg, const at::Tensor& exp_avg_sq);
void ema_cuda(FlatState& teacher, const FlatState& student, double momentum, const FlatRange& range);

}  // namespace dinoxx::optim_detail
