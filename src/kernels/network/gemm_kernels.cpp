#include "gemm_kernels.hpp"

namespace dinoxx::ops {

#ifdef DINOXX_X86_KERNELS
extern const GemmKernels gemm_avx512_float, gemm_avx512bf16;
#endif

const GemmKernels* gemm_kernels(bool bf16) {
#ifdef DINOXX_X86_KERNELS
  if (bf16) return cpu_level() >= CpuLevel::kAvx512Bf16 ? &gemm_avx512bf16 : nullptr;
  return cpu_level() >= CpuLevel::kAvx512 ? &gemm_avx512_float : nullptr;
#else
  return nullptr;
#endif
}

}  // namespace dinoxx::ops
