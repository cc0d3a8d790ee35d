#include "flat_kernels.hpp"

namespace dinoxx::optim_detail {

const FlatKernels& flat_kernels() {
#if defined(__x86_64__)
  if (cpu_level() >= CpuLevel::kAvx512) return kAvx512Kernels;
  if (cpu_level() >= CpuLevel::kAvx2) return kAvx2Kernels;
#endif
  return kPortableKernels;
}

}  // namespace dinoxx::optim_detail
