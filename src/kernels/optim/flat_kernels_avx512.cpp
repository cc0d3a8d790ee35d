#define DINOXX_KERNELS kAvx512Kernels
#define DINOXX_KERNELS_NAME "avx512"
#include "flat_kernels.inc"
