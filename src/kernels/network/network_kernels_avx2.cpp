#define DINOXX_ISA avx2
#define DINOXX_LANES 8
#include "network_kernels_impl.hpp"

namespace dinoxx::ops {
extern const KernelSet kernels_avx2_float = avx2::make_kernel_set<float>(CpuLevel::kAvx2);
extern const KernelSet kernels_avx2_bf16 = avx2::make_kernel_set<avx2::Bf16>(CpuLevel::kAvx2);
}  // namespace dinoxx::ops
