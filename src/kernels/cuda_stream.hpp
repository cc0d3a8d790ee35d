#pragma once
#include <c10/core/Device.h>
#include <cuda_runtime_api.h>

#include <functional>
#include <memory>

namespace dinoxx {

/// The current stream of the current device, on which LibTorch's own kernels run. The CPU instances of the tests have a nullptr.
cudaStream_t current_stream();
/// Whether own kernels take tensors of this device.
bool kernels_run_on(c10::Device device);
/// An Error where a launch failed; `what` names the operation.
void check_launch(cudaError_t code, const char* what);

/// The end of work on another stream.
class StreamEvent {
 public:
  /// The current stream waits for it; the host does not.
  virtual void wait() const = 0;
  /// The current stream waits too, so that memory of the work can be given back in that stream's order.
  virtual ~StreamEvent() = default;
};
/// Runs `work` with another stream as the current one, behind all that the current stream has so far.
std::shared_ptr<StreamEvent> beside_current_stream(const std::function<void()>& work);

}  // namespace dinoxx
