#pragma once
#include <ATen/core/Tensor.h>

#include <utility>

#include "dinoxx/loss/scores.hpp"

/// Sums over the rows of [M, K] logits (M may be 0) of this rank: kernels in float32 and bfloat16 on the CPU and, where K is a
/// multiple of 16 bytes, on a GPU; else ATen's operators on blocks of rows. Results float32 (float64 for float64), the same for any number
/// of threads in the kernels.
namespace dinoxx::loss_columns {

/// log sum_i exp(logits_ij / temp) as first + log second. Without rows: second is 0.
std::pair<at::Tensor, at::Tensor> log_sum_exp(const Scores& logits, double temp);

/// sum_i softmax((logits_i - centre) / temp). With is_top (uint8 [K] of the logits' device): set to 1 for the largest prototype of each
/// row, of equal ones that of the lowest rank. Of columns a collective over the ranks that have the others.
at::Tensor softmax_sums(const Scores& logits, const at::Tensor& centre, double temp, const at::Tensor& is_top = {});

/// sum_i weight_i logits_i; weight [M], undefined: 1.
at::Tensor weighted_sums(const Scores& logits, const at::Tensor& weight);

/// Rows of one block in ATen's way: float32 of at most 16 MB.
int64_t block_rows(int64_t dim);

}  // namespace dinoxx::loss_columns
