#include "image_kernels.hpp"

namespace dinoxx::kernels {

const Table& table() {
#if defined(__x86_64__)
  if (cpu_level() >= CpuLevel::kAvx512Vnni) return kAvx512Table;
  if (cpu_level() >= CpuLevel::kAvx2) return kAvx2Table;
#endif
  return kPortableTable;
}

}  // namespace dinoxx::kernels
