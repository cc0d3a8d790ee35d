// In the place of CUDA's header where a .cu file is compiled with the host's compiler: a CPU instance of every kernel, for tests on machines without a GPU and
// without the toolkit. A kernel is run as a loop over its blocks and threads, in the order that the test sets, since its result may not depend on it. No
// shared memory and no __syncthreads: a kernel that needs them has to be written in phases first.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __grid_constant__

struct dim3 {
  constexpr dim3(unsigned x_in = 1, unsigned y_in = 1, unsigned z_in = 1) : x(x_in), y(y_in), z(z_in) {}
  unsigned x, y, z;
};
enum cudaError_t { cudaSuccess };
using cudaStream_t = void*;
inline cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

inline thread_local dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace cuda_on_cpu {

inline bool backwards = false;  ///< the last thread of the last block first

template <class Work>
void for_each_index(dim3 size, dim3& index, Work work) {
  const uint64_t all = uint64_t{size.x} * size.y * size.z;
  for (uint64_t k = 0; k < all; ++k) {
    const uint64_t i = backwards ? all - 1 - k : k;
    index = dim3(static_cast<unsigned>(i % size.x), static_cast<unsigned>(i / size.x % size.y), static_cast<unsigned>(i / size.x / size.y));
    work();
  }
}

template <class Kernel>
auto launch(Kernel* kernel, dim3 grid, dim3 block) {
  return [=](auto... arguments) {
    gridDim = grid;
    blockDim = block;
    for_each_index(grid, blockIdx, [&] { for_each_index(block, threadIdx, [&] { kernel(arguments...); }); });
  };
}

}  // namespace cuda_on_cpu

#define DINOXX_LAUNCH(kernel, grid, block, stream) cuda_on_cpu::launch(&kernel, grid, block)
