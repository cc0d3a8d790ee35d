// Device memory, pinned memory and copies. A copy waits for what its stream waits for and is then made at once.
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <cstring>

#include "cudart.hpp"
#include "device/counters.hpp"
#include "device/memory.hpp"
#include "device/settings.hpp"
#include "device/streams.hpp"

namespace {

using namespace fakegpu;

cudaError_t allocate_counted(void** address, size_t bytes) {
  count([](Counters& c) { ++c.allocations; });
  return remember(allocate(current_device, bytes, address) ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t release_counted(void* address) {
  if (!address) return cudaSuccess;
  count([](Counters& c) { ++c.releases; });
  wait_for(pending_everywhere());  // cudaFree waits for the device
  host_has_waited();
  return remember(release(address) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t copy(void* to, const void* from, size_t bytes, cudaStream_t stream) {
  const bool to_device = device_of(to) >= 0, from_device = device_of(from) >= 0;
  const auto size = static_cast<double>(bytes);
  count([&](Counters& c) {
    ++(to_device && from_device ? c.on_device : to_device ? c.to_device : c.to_host);
    (to_device && from_device ? c.on_device_bytes : to_device ? c.to_device_bytes : c.to_host_bytes) += size;
  });
  wait_for(pending(stream));
  const bool aside = to_device && !from_device && stream != nullptr && !settings().side_copies;
  if (bytes <= settings().copied && !aside) std::memmove(host_address(to), host_address(from), bytes);
  if (from_device && !to_device) host_has_waited();
  return cudaSuccess;
}

cudaError_t fill(void* address, int value, size_t bytes, cudaStream_t stream) {
  count([](Counters& c) { ++c.fills; });
  wait_for(pending(stream));
  if (bytes <= settings().copied) std::memset(host_address(address), value, bytes);
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** address, size_t bytes) {
  return allocate_counted(address, bytes);
}
cudaError_t cudaMallocAsync(void** address, size_t bytes, cudaStream_t) {
  return allocate_counted(address, bytes);
}
cudaError_t cudaFree(void* address) {
  return release_counted(address);
}
cudaError_t cudaFreeAsync(void* address, cudaStream_t) {
  return release_counted(address);
}
cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned) {
  constexpr size_t kPage = 4096;
  count([](Counters& c) { ++c.pinned_allocations; });
  *address = std::aligned_alloc(kPage, (bytes + kPage - 1) / kPage * kPage);
  return remember(*address ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* address) {
  std::free(address);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* left, size_t* all) {
  *all = settings().memory;
  *left = free_bytes(current_device);
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  *attributes = {};
  const int device = device_of(address);
  attributes->type = device >= 0 ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered;
  attributes->device = device >= 0 ? device : current_device;
  if (device >= 0) attributes->devicePointer = const_cast<void*>(address);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  count([](Counters& c) { ++c.stream_waits; });
  return copy(to, from, bytes, nullptr);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return copy(to, from, bytes, stream);
}
cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes, cudaStream_t stream) {
  return copy(to, from, bytes, stream);
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height, cudaMemcpyKind,
                              cudaStream_t stream) {
  for (size_t row = 0; row < height; ++row)
    copy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, width, stream);
  return cudaSuccess;
}
cudaError_t cudaMemset(void* address, int value, size_t bytes) {
  return fill(address, value, bytes, nullptr);
}
cudaError_t cudaMemsetAsync(void* address, int value, size_t bytes, cudaStream_t stream) {
  return fill(address, value, bytes, stream);
}

}  // extern "C"
