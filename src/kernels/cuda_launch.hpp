// How a kernel is launched: DINOXX_LAUNCH(kernel, grid, block, stream)(arguments), and DINOXX_LAUNCH_TOGETHER where the threads of a block
// wait for each other. On a GPU both are nvcc's syntax; the tests compile the same file with the host's compiler behind
// tests/support/cuda_on_cpu, which brings macros of its own: a loop over blocks and threads, and threads that take turns. A kernel that is
// a template is put in parentheses where it has several arguments.
#pragma once
#include <cuda_runtime_api.h>

#ifndef DINOXX_LAUNCH
#define DINOXX_LAUNCH(kernel, grid, block, stream) kernel<<<grid, block, 0, stream>>>
#define DINOXX_LAUNCH_TOGETHER(kernel, grid, block, stream) kernel<<<grid, block, 0, stream>>>
#endif
