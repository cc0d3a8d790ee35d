#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace dinoxx::eval {

/// Ranks all memory images for each query by cosine (equal: the lower row) and looks for those of the query's class: average precision
/// [queries] float64, the sum of the precision at each hit over the number of hits there are; NaN when the memory has none of the class.
/// Queries and memory float32, normalised; one block of queries at a time is meant (blocks.hpp).
at::Tensor average_precisions(const at::Tensor& queries, std::span<const int32_t> query_labels, const at::Tensor& memory,
                              std::span<const int32_t> memory_labels);

}  // namespace dinoxx::eval
