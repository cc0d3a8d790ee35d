#define DINOXX_ISA generic
#define DINOXX_LANES 4
#include "network_kernels_impl.hpp"

namespace dinoxx::ops {
extern const KernelSet kernels_generic_float = generic::make_kernel_set<float>(CpuLevel::kGeneric);
extern const KernelSet kernels_generic_bf16 = generic::make_kernel_set<generic::Bf16>(CpuLevel::kGeneric);
}  // namespace dinoxx::ops
