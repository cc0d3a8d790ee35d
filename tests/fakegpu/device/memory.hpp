// Device memory: addresses that the host may neither read nor write, and behind each the bytes as copies see them.
#pragma once
#include <cstddef>

namespace fakegpu {

struct DeviceUse {
  size_t now = 0, peak = 0;  ///< bytes, the largest of all devices
};

/// False: out of memory. Sizes are rounded up to 2 MiB, as the driver does.
bool allocate(int device, size_t bytes, void** address);
/// False: not the begin of an allocation.
bool release(void* address);
/// The device of an address, or -1 for host memory.
int device_of(const void* address);
/// Where the bytes of a device address lie; a host address as it is.
void* host_address(const void* address);
/// Bytes that `device` has left.
size_t free_bytes(int device);
DeviceUse device_use();

}  // namespace fakegpu
