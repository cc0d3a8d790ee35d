#define DINOXX_ISA avx512bf16
#define DINOXX_LANES 16
#include "network_kernels_impl.hpp"

// The same as avx512 with the rounding to bfloat16 in one instruction.
namespace dinoxx::ops {
extern const KernelSet kernels_avx512bf16_bf16 = avx512bf16::make_kernel_set<avx512bf16::Bf16>(CpuLevel::kAvx512Bf16);
}  // namespace dinoxx::ops
