#include "network_kernels.hpp"

#include <cstdlib>
#include <string>

#include "dinoxx/base/error.hpp"

namespace dinoxx::ops {

extern const KernelSet kernels_generic_float, kernels_generic_bf16;
#ifdef DINOXX_X86_KERNELS
extern const KernelSet kernels_avx2_float, kernels_avx2_bf16, kernels_avx512_float, kernels_avx512_bf16, kernels_avx512bf16_bf16;
#endif

SimdLevel simd_level() {
  static const SimdLevel level = [] {
    SimdLevel best = SimdLevel::kGeneric;
#ifdef DINOXX_X86_KERNELS
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = SimdLevel::kAvx2;
    if (best == SimdLevel::kAvx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
      best = SimdLevel::kAvx512;
    if (best == SimdLevel::kAvx512 && __builtin_cpu_supports("avx512bf16")) best = SimdLevel::kAvx512Bf16;
#endif
    if (const char* wish = std::getenv("DINOXX_SIMD")) {
      const std::string name = wish;
      SimdLevel asked = best;
      if (name == "generic")
        asked = SimdLevel::kGeneric;
      else if (name == "avx2")
        asked = SimdLevel::kAvx2;
      else if (name == "avx512")
        asked = SimdLevel::kAvx512;
      else if (name != "avx512bf16")
        fail_usage("environment variable DINOXX_SIMD", "generic, avx2, avx512 or avx512bf16", name,
                   "Unset it to take what the processor has");
      best = asked < best ? asked : best;
    }
    return best;
  }();
  return level;
}

const KernelSet& kernel_set(bool bf16) {
#ifdef DINOXX_X86_KERNELS
  if (bf16 && simd_level() >= SimdLevel::kAvx512Bf16) return kernels_avx512bf16_bf16;
  if (simd_level() >= SimdLevel::kAvx512) return bf16 ? kernels_avx512_bf16 : kernels_avx512_float;
  if (simd_level() >= SimdLevel::kAvx2) return bf16 ? kernels_avx2_bf16 : kernels_avx2_float;
#endif
  return bf16 ? kernels_generic_bf16 : kernels_generic_float;
}

}  // namespace dinoxx::ops
