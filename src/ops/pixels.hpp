#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <memory>

namespace dinoxx {
class StreamEvent;
}

namespace dinoxx::ops {

/// A copy of bytes to a GPU that is under way on a stream of its own, so that it runs beside what the GPU computes.
class PixelCopy {
 public:
  /// Begins behind all that the current stream has so far. bytes: uint8 [N, 3, H, W] in main memory, page-locked if the host is not to
  /// wait; nobody may write there before a wait for what uses the result. Errors: another shape or type; a build without CUDA.
  PixelCopy(const at::Tensor& bytes, at::Device device);
  /// Crops as the networks see them: bytes * scale + shift for each channel in float32, then `type` (float32 or bfloat16). The current
  /// stream waits for the copy, the host does not. [N, 3, H, W] on the device.
  at::Tensor normalized(const std::array<float, 3>& scale, const std::array<float, 3>& shift, at::ScalarType type) const;

 private:
  at::Tensor there_;
  std::shared_ptr<StreamEvent> done_;
};

}  // namespace dinoxx::ops
