// SGD with momentum and the local rates of LARS over flat buffers on a GPU. The same arithmetic as on the CPU, without fused multiply-adds.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "norm_kernels.hpp"
#include "optim/lars_rule.hpp"

namespace dinoxx::optim_detail {

struct SgdRates {
  float q = 1, decay = 0, rate = 0;
};
struct SgdRun {
  int64_t begin = 0, numel = 0;  ///< elements of the flat buffers
  SgdRates rates;
  int32_t group = -1;  ///< from 0: its rates are those of launch_lars_rates
};
struct LarsGroup {
  NormGroup parts;  ///< of launch_squares over masters and gradients
  double lr = 0, weight_decay = 0;
};

/// rates[g] = lars_update of the sums of a group's parts. parts [2, all_parts].
cudaError_t launch_lars_rates(const LarsGroup* groups, int count, const double* parts, int64_t all_parts, const LarsRule& rule,
                              SgdRates* rates, cudaStream_t stream);
/// v = momentum v + q (g + decay p), p -= rate v over each run; `bf16` (flat, or null) gets the rounded parameters. Runs may not overlap.
cudaError_t launch_sgd(const SgdRun* runs, int count, const SgdRates* rates, float momentum, float* p, const float* g, float* v,
                       uint16_t* bf16, cudaStream_t stream);

}  // namespace dinoxx::optim_detail
