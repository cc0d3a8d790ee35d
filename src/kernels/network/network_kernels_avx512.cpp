#define DINOXX_ISA avx512
#define DINOXX_LANES 16
#include "network_kernels_impl.hpp"

namespace dinoxx::ops {
extern const KernelSet kernels_avx512_float = avx512::make_kernel_set<float>(CpuLevel::kAvx512);
extern const KernelSet kernels_avx512_bf16 = avx512::make_kernel_set<avx512::Bf16>(CpuLevel::kAvx512);
}  // namespace dinoxx::ops
