#define DINOXX_ISA avx512
#define DINOXX_LANES 16
#include "network_kernels_impl.hpp"

namespace dinoxx::ops {
extern const KernelSet kernels_avx512_float = avx512::make_kernel_set<float>("avx512");
extern const KernelSet kernels_avx512_bf16 = avx512::make_kernel_set<avx512::Bf16>("avx512");
}  // namespace dinoxx::ops
