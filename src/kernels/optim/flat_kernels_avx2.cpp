#define DINOXX_KERNELS kAvx2Kernels
#define DINOXX_KERNELS_LEVEL CpuLevel::kAvx2
#include "flat_kernels.inc"
