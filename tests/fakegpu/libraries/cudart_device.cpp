// Devices, their properties, versions and errors.
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstring>

#include "cudart.hpp"
#include "device/counters.hpp"
#include "device/settings.hpp"
#include "device/streams.hpp"

namespace fakegpu {

thread_local int current_device = 0;
thread_local cudaError_t last_error = cudaSuccess;

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

}  // namespace fakegpu

namespace {

using namespace fakegpu;

cudaError_t driver_state() {
  if (settings().driver == 0) return cudaErrorNoDevice;
  if (settings().driver < 13000) return cudaErrorInsufficientDriver;
  return settings().devices > 0 ? cudaSuccess : cudaErrorNoDevice;
}

// The figures of an H100 SXM with the architecture that was asked for.
constexpr int kMultiprocessors = 132, kThreads = 1024, kThreadsOfMultiprocessor = 2048, kRegisters = 65536;
constexpr int kSharedOfBlock = 49152, kSharedAtMost = 232448, kSharedOfMultiprocessor = 233472, kCache = 50 << 20;

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  const cudaError_t state = driver_state();
  *count = state == cudaSuccess ? settings().devices : 0;
  return remember(state);
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= settings().devices) return remember(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  count([](Counters& c) { ++c.device_waits; });
  wait_for(pending_everywhere());
  host_has_waited();
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  std::memset(p, 0, sizeof *p);
  std::snprintf(p->name, sizeof p->name, "stand-in for a GPU");
  p->major = settings().architecture / 10;
  p->minor = settings().architecture % 10;
  p->multiProcessorCount = kMultiprocessors;
  p->totalGlobalMem = settings().memory;
  p->sharedMemPerBlock = kSharedOfBlock;
  p->sharedMemPerBlockOptin = kSharedAtMost;
  p->sharedMemPerMultiprocessor = kSharedOfMultiprocessor;
  p->regsPerBlock = p->regsPerMultiprocessor = kRegisters;
  p->warpSize = 32;
  p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = kThreads;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 2147483647;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->maxThreadsPerMultiProcessor = kThreadsOfMultiprocessor;
  p->maxBlocksPerMultiProcessor = 32;
  p->l2CacheSize = kCache;
  p->totalConstMem = 65536;
  p->textureAlignment = 512;
  // each rank has GPUs of its own, as on machines of their own
  p->uuid.bytes[0] = static_cast<char>(device);
  p->uuid.bytes[1] = static_cast<char>(settings().one_gpu ? 0 : settings().rank);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = kMultiprocessors;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = settings().architecture / 10;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = settings().architecture % 10;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = kSharedAtMost;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = kSharedOfBlock;
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = kSharedOfMultiprocessor;
      break;
    case cudaDevAttrMaxThreadsPerBlock:
    case cudaDevAttrMaxBlockDimX:
    case cudaDevAttrMaxBlockDimY:
      *value = kThreads;
      break;
    case cudaDevAttrMaxBlockDimZ:
      *value = 64;
      break;
    case cudaDevAttrWarpSize:
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      *value = 32;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = kThreadsOfMultiprocessor;
      break;
    case cudaDevAttrMaxGridDimX:
      *value = 2147483647;
      break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ:
      *value = 65535;
      break;
    case cudaDevAttrL2CacheSize:
      *value = kCache;
      break;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      *value = kRegisters;
      break;
    default:
      *value = 0;
  }
  return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* text, int length, int device) {
  std::snprintf(text, static_cast<size_t>(length), "0000:%02x:00.0", device + 1);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  if (least) *least = 0;
  if (greatest) *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = settings().driver;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() {
  return last_error;
}
const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaSuccess ? "cudaSuccess" : error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaError";
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    default:
      return "an error of the stand-in device";
  }
}
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  *function = dlsym(RTLD_DEFAULT, name);
  if (result) *result = *function ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}

}  // extern "C"
