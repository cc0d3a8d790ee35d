#include "ops/pixels.hpp"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>

#include "dinoxx/base/error.hpp"
#include "kernels/cuda_stream.hpp"
#include "pixel_kernels.hpp"

namespace dinoxx::ops {

at::Tensor normalized_pixels(const at::Tensor& bytes, const std::array<float, 3>& scale, const std::array<float, 3>& shift,
                             at::ScalarType type, at::Device device) {
  if (bytes.dim() != 4 || bytes.size(1) != 3 || bytes.scalar_type() != at::kByte || (type != at::kFloat && type != at::kBFloat16))
    fail("pixels", "uint8 [N, 3, H, W], to float32 or bfloat16", c10::toString(bytes.scalar_type()), "This is a defect of the program");
  const c10::DeviceGuard guard(device);
  const at::Tensor there = bytes.to(device, /*non_blocking=*/true).contiguous();
  const at::Tensor out = at::empty(there.sizes(), there.options().dtype(type));
  cuda::ChannelFactors factors;
  std::copy(scale.begin(), scale.end(), factors.scale);
  std::copy(shift.begin(), shift.end(), factors.shift);
  check_launch(cuda::launch_normalize(type == at::kBFloat16, there.const_data_ptr<uint8_t>(), out.data_ptr(), there.size(0),
                                      there.size(2) * there.size(3), factors, current_stream()),
               "normalisation of pixels");
  return out;
}

}  // namespace dinoxx::ops
