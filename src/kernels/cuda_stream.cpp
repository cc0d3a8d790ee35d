#include "cuda_stream.hpp"

#include <c10/cuda/CUDAStream.h>

#include "dinoxx/base/error.hpp"

namespace dinoxx {

cudaStream_t current_stream() {
  return c10::cuda::getCurrentCUDAStream().stream();
}

bool kernels_run_on(c10::Device device) {
  return device.is_cuda();
}

void check_launch(cudaError_t code, const char* what) {
  if (code != cudaSuccess)
    fail(what, "a kernel launch", cudaGetErrorString(code), "Was dinoxx built for this GPU? (CMAKE_CUDA_ARCHITECTURES)");
}

}  // namespace dinoxx
