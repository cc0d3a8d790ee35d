// What the files of the runtime's stand-in share.
#pragma once
#include <cuda_runtime_api.h>

namespace fakegpu {

extern thread_local int current_device;
/// Sets what cudaGetLastError returns; gives the error back.
cudaError_t remember(cudaError_t error);
/// Events that were recorded before are complete from here on, also with FAKEGPU_LATE_EVENTS.
void host_has_waited();

}  // namespace fakegpu
