#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

namespace dinoxx::ops::cuda {

struct ChannelFactors {
  float scale[3] = {}, shift[3] = {};
};
/// to [images, 3, plane] = from * scale + shift, rounded after each of the two operations, as on the CPU. `to` is float32 or bfloat16.
cudaError_t launch_normalize(bool bf16, const uint8_t* from, void* to, int64_t images, int64_t plane, const ChannelFactors& factors,
                             cudaStream_t stream);

}  // namespace dinoxx::ops::cuda
