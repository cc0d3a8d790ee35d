// Sums of squares over runs of flat buffers on a GPU, and what clipping makes of them: no waiting for the host. In a fixed order, in
// float64.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

namespace dinoxx::optim_detail {

struct NormRun {
  int64_t begin = 0, numel = 0;  ///< elements of the flat buffers
  int32_t group = 0;             ///< of which coefficient it is scaled with
  float decay = 0;
};
/// Parts of the sums of neighbouring runs.
struct NormGroup {
  int32_t first_part = 0, parts = 0;
};

/// Parts that the runs have.
int64_t norm_parts(const NormRun* runs, int count);
/// parts[0][i]: sum of x^2 over part i of all runs' parts, one run after another; where y is given parts[1][i]: of (y + decay x)^2. parts
/// [1 or 2, norm_parts].
cudaError_t launch_squares(const NormRun* runs, int count, const float* x, const float* y, double* parts, cudaStream_t stream);
/// squares[g]: the sum of a group's parts; coefficients[g]: min(1, max_norm / (sqrt(squares[g]) + 1e-6)), 1 where max_norm <= 0 or the norm
/// is not a number.
cudaError_t launch_clip_coefficients(const NormGroup* groups, int count, const double* parts, double max_norm, double* squares,
                                     float* coefficients, cudaStream_t stream);
/// g *= coefficients[run.group] over each run.
cudaError_t launch_scale(const NormRun* runs, int count, const float* coefficients, float* g, cudaStream_t stream);

}  // namespace dinoxx::optim_detail
