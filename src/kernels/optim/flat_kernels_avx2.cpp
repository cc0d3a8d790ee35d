#define DINOXX_KERNELS kAvx2Kernels
#define DINOXX_KERNELS_NAME "avx2"
#include "flat_kernels.inc"
