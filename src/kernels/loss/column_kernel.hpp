#pragma once
#include <cstdint>

#include "loss_level.hpp"

/// Sums over the rows of [M, K] logits, as Sinkhorn-Knopp's prototype sums need them: with exponentials, without a tensor of their size.
namespace dinoxx::loss_kernel {

/// log sum_i exp(logits_ij * inv_temp) of columns [begin, end) as max[j] + log sum[j], in the order of the rows. Without rows: sum 0 and
/// max kNoRow. A NaN makes its column's sum NaN.
struct ColumnLogSumExp {
  const void* logits = nullptr;
  Storage type = Storage::kFloat;
  int64_t rows = 0, dim = 0, begin = 0, end = 0;  ///< some thousand columns stay in the cache
  float inv_temp = 1;
  float* max = nullptr;  ///< [K]
  float* sum = nullptr;  ///< [K]
};
constexpr float kNoRow = -3e38f;
void column_log_sum_exp(const ColumnLogSumExp& columns, CpuLevel level);

/// sums[j] += softmax((logits_i - centre) * inv_temp)[j] for rows [begin, end), in their order. A NaN makes all sums NaN.
struct SoftmaxColumnSums {
  const void* logits = nullptr;
  Storage type = Storage::kFloat;
  const float* centre = nullptr;  ///< [K]
  int64_t dim = 0, begin = 0, end = 0;
  float inv_temp = 1;
  float* sums = nullptr;      ///< [softmax_columns_size()], added to; the part beyond K is of no meaning
  float* scratch = nullptr;   ///< [softmax_columns_size()]
  uint8_t* is_top = nullptr;  ///< [K] or null: set to 1 for the largest prototype of each row
};
int64_t softmax_columns_size(int64_t dim);
void softmax_column_sums(const SoftmaxColumnSums& rows, CpuLevel level);

}  // namespace dinoxx::loss_kernel
