#pragma once
#include <cstdint>

#include "network_kernels.hpp"

/// The inner loops of matrix products with a fused epilogue, chosen at run time. Own kernels where the processor has AVX-512 (and
/// AVX512_BF16 for bfloat16), because the MKL in the wheel takes its AVX2 path on AMD processors, half of what the core can do.
namespace dinoxx::ops {

/// A(i, k) = a[i * a_row + k * a_k], B(k, j) = b[k * b_k + j * b_col]; one stride of each is 1. Elements are float or bfloat16.
struct Gemm {
  int64_t m, n, k;
  const void* a;
  int64_t a_row, a_k;
  const void* b;
  int64_t b_k, b_col;
  EpilogueArgs out;
};

/// One instruction set's kernels. B is packed once, then row chunks are independent.
struct GemmKernels {
  CpuLevel level;                          ///< that it needs
  int64_t (*row_chunk)(const Gemm&);       ///< rows of C that run() takes at a time, at most
  int64_t (*packed_b_size)(const Gemm&);   ///< floats
  int64_t (*workspace_size)(const Gemm&);  ///< floats, per thread
  void (*pack_b)(const Gemm&, float* packed, int64_t panel_begin, int64_t panel_end);
  int64_t (*panels)(const Gemm&);
  void (*run)(const Gemm&, const float* packed_b, float* workspace, int64_t row_begin, int64_t row_end, float* column_sums);
};
/// Null where the processor lacks the instructions.
const GemmKernels* gemm_kernels(bool bf16);

}  // namespace dinoxx::ops
