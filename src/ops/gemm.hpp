#pragma once
#include "kernels/network/gemm_kernels.hpp"

/// Matrix products with a fused epilogue: own kernels where the processor has them, elsewhere at::mm and the epilogue as a second pass.
namespace dinoxx::ops {

/// c = epilogue(A B). `column_sums` (for Epilogue::kMultiply): [n], overwritten.
/// The order of every sum is fixed by (n, k) alone, so that results depend neither on the number of threads nor on the other rows.
void gemm(bool bf16, const Gemm& g, float* column_sums = nullptr);

}  // namespace dinoxx::ops
