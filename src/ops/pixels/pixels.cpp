#include "ops/pixels.hpp"

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <fmt/format.h>

#include <algorithm>

#include "dinoxx/base/error.hpp"
#include "kernels/cuda_stream.hpp"
#include "pixel_kernels.hpp"

namespace dinoxx::ops {

PixelCopy::PixelCopy(const at::Tensor& bytes, at::Device device) {
  if (bytes.dim() != 4 || bytes.size(1) != 3 || bytes.scalar_type() != at::kByte || !bytes.is_contiguous())
    fail("pixels", "uint8 [N, 3, H, W]", fmt::format("{} of {} dimensions", c10::toString(bytes.scalar_type()), bytes.dim()),
         "This is a defect of the program");
  const c10::DeviceGuard guard(device);
  there_ = at::empty(bytes.sizes(), bytes.options().device(device).pinned_memory(false));
  done_ = beside_current_stream([&] { there_.copy_(bytes, /*non_blocking=*/true); });
}

at::Tensor PixelCopy::normalized(const std::array<float, 3>& scale, const std::array<float, 3>& shift, at::ScalarType type) const {
  if (type != at::kFloat && type != at::kBFloat16)
    fail("pixels", "float32 or bfloat16", c10::toString(type), "This is a defect of the program");
  const c10::DeviceGuard guard(there_.device());
  done_->wait();
  const at::Tensor out = at::empty(there_.sizes(), there_.options().dtype(type));
  cuda::ChannelFactors factors;
  std::copy(scale.begin(), scale.end(), factors.scale);
  std::copy(shift.begin(), shift.end(), factors.shift);
  check_launch(cuda::launch_normalize(type == at::kBFloat16, there_.const_data_ptr<uint8_t>(), out.data_ptr(), there_.size(0),
                                      there_.size(2) * there_.size(3), factors, current_stream()),
               "normalisation of pixels");
  return out;
}

}  // namespace dinoxx::ops
