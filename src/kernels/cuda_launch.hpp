// How a kernel is launched: DINOXX_LAUNCH(kernel, grid, block, stream)(arguments). On a GPU by nvcc's syntax; the tests compile the same
// file with the host's compiler behind tests/support/cuda_on_cpu, which brings a DINOXX_LAUNCH of its own: a loop over blocks and threads.
#pragma once
#include <cuda_runtime_api.h>

#ifndef DINOXX_LAUNCH
#define DINOXX_LAUNCH(kernel, grid, block, stream) kernel<<<grid, block, 0, stream>>>
#endif
