#define DINOXX_KERNELS kAvx512Kernels
#define DINOXX_KERNELS_LEVEL CpuLevel::kAvx512
#include "flat_kernels.inc"
