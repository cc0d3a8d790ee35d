#define DINOXX_ISA avx512_gemm
#define DINOXX_LANES 16
#include "gemm_impl.hpp"

namespace dinoxx::ops {
extern const GemmKernels gemm_avx512_float = avx512_gemm::make_gemm_kernels<avx512_gemm::FloatWords>(CpuLevel::kAvx512);
}  // namespace dinoxx::ops
