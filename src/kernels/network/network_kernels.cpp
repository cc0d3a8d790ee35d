#include "network_kernels.hpp"

namespace dinoxx::ops {

extern const KernelSet kernels_generic_float, kernels_generic_bf16;
#ifdef DINOXX_X86_KERNELS
extern const KernelSet kernels_avx2_float, kernels_avx2_bf16, kernels_avx512_float, kernels_avx512_bf16, kernels_avx512bf16_bf16;
#endif

const KernelSet& kernel_set(bool bf16) {
#ifdef DINOXX_X86_KERNELS
  if (bf16 && cpu_level() >= CpuLevel::kAvx512Bf16) return kernels_avx512bf16_bf16;
  if (cpu_level() >= CpuLevel::kAvx512) return bf16 ? kernels_avx512_bf16 : kernels_avx512_float;
  if (cpu_level() >= CpuLevel::kAvx2) return bf16 ? kernels_avx2_bf16 : kernels_avx2_float;
#endif
  return bf16 ? kernels_generic_bf16 : kernels_generic_float;
}

}  // namespace dinoxx::ops
