#include "flat_kernels.hpp"

namespace dinoxx::optim_detail {

const FlatKernels& flat_kernels() {
#if defined(__x86_64__)
  static const FlatKernels& chosen = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                                             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")
                                         ? kAvx512Kernels
                                     : __builtin_cpu_supports("avx2") ? kAvx2Kernels
                                                                      : kPortableKernels;
  return chosen;
#else
  return kPortableKernels;
#endif
}

}  // namespace dinoxx::optim_detail
