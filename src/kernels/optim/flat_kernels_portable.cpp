#define DINOXX_KERNELS kPortableKernels
#define DINOXX_KERNELS_NAME "portable"
#include "flat_kernels.inc"
