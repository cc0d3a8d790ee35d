#pragma once
#include <ATen/core/Tensor.h>

#include <utility>

/// Sums over the rows of [M, K] logits (contiguous; M may be 0) of this rank: kernels in float32 and bfloat16 on the CPU and, where K is a
/// multiple of 16 bytes, on a GPU; else ATen's operators on blocks of rows. Results float32 (float64 for float64), the same for any number
/// of threads in the kernels.
namespace dinoxx::loss_columns {

/// log sum_i exp(logits_ij / temp) as first + log second. Without rows: second is 0.
std::pair<at::Tensor, at::Tensor> log_sum_exp(const at::Tensor& logits, double temp);

/// sum_i softmax((logits_i - centre) / temp). With is_top (uint8 [K] of the logits' device): set to 1 for the largest prototype of each
/// row.
at::Tensor softmax_sums(const at::Tensor& logits, const at::Tensor& centre, double temp, const at::Tensor& is_top = {});

/// Rows of one block in ATen's way: float32 of at most 16 MB.
int64_t block_rows(int64_t dim);

}  // namespace dinoxx::loss_columns
