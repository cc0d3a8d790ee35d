#define DINOXX_KERNELS kPortableKernels
#define DINOXX_KERNELS_LEVEL CpuLevel::kGeneric
#include "flat_kernels.inc"
