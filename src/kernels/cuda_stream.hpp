#pragma once
#include <c10/core/Device.h>
#include <cuda_runtime_api.h>

namespace dinoxx {

/// The current stream of the current device, on which LibTorch's own kernels run. The CPU instances of the tests have a nullptr.
cudaStream_t current_stream();
/// Whether own kernels take tensors of this device.
bool kernels_run_on(c10::Device device);
/// An Error where a launch failed; `what` names the operation.
void check_launch(cudaError_t code, const char* what);

}  // namespace dinoxx
