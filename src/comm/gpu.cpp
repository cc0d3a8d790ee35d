#include "gpu.hpp"

#include <ATen/Context.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <nccl.h>

#include <algorithm>
#include <string_view>

#include "dinoxx/base/error.hpp"

namespace dinoxx {

bool built_with_nccl() {
  return true;
}

int visible_gpus() {
  return unusable_gpus().empty() ? c10::cuda::device_count() : 0;
}

std::string unusable_gpus() {
  int count = 0, driver = 0, runtime = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (code == cudaSuccess || code == cudaErrorNoDevice) return "";
  if (code != cudaErrorInsufficientDriver) return cudaGetErrorString(code);
  // also said where there is no driver at all
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) return "";
  cudaRuntimeGetVersion(&runtime);
  return fmt::format("a driver for CUDA {}.{}, and this program needs one for {}.{}", driver / 1000, driver % 1000 / 10, runtime / 1000,
                     runtime % 1000 / 10);
}

void use_gpu(int device, const std::string& key) {
  const int count = visible_gpus();
  if (device < 0 || device >= count) {
    const std::string why = unusable_gpus();
    fail(
        fmt::format("GPU {}", device), "one GPU for each rank of this machine", why.empty() ? fmt::format("{} visible", count) : why,
        fmt::format("Start as many ranks on a machine as it has GPUs, check CUDA_VISIBLE_DEVICES and the driver, or choose --{} cpu", key));
  }
  at::globalContext().lazyInitDevice(at::kCUDA);  // else gpu_memory() would ask an allocator that is not there before the first tensor is
  c10::cuda::set_device(static_cast<c10::DeviceIndex>(device));
}

GpuVersions gpu_versions() {
  const auto text = [](int version) { return version > 0 ? fmt::format("{}.{}", version / 1000, version % 1000 / 10) : std::string(); };
  GpuVersions versions;
  int number = 0;
  if (cudaRuntimeGetVersion(&number) == cudaSuccess) versions.runtime = text(number);
  number = 0;
  if (cudaDriverGetVersion(&number) == cudaSuccess) versions.driver = text(number);
  number = 0;
  if (ncclGetVersion(&number) == ncclSuccess && number > 0)
    versions.nccl = fmt::format("{}.{}.{}", number / 10000, number % 10000 / 100, number % 100);  // as NCCL_VERSION of 2.9 and later
  return versions;
}

GpuIdentity gpu_identity(int device) {
  GpuIdentity identity;
  cudaDeviceProp properties;
  char address[32] = "";
  if (cudaGetDeviceProperties(&properties, device) != cudaSuccess ||
      cudaDeviceGetPCIBusId(address, sizeof address, device) != cudaSuccess) {
    cudaGetLastError();
    return identity;
  }
  identity.name = properties.name;
  identity.address = identity.id = address;
  std::transform(identity.address.begin(), identity.address.end(), identity.address.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  for (const char byte : properties.uuid.bytes) identity.id += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return identity;
}

GpuMemory gpu_memory(int device) {
  namespace allocator = c10::cuda::CUDACachingAllocator;
  GpuMemory memory;
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, device) == cudaSuccess) memory.name = properties.name;
  size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) fail(fmt::format("GPU {}", device), "its memory", "an error", "Look at nvidia-smi");
  memory.free = static_cast<int64_t>(free);
  memory.total = static_cast<int64_t>(total);
  const auto stats = allocator::getDeviceStats(static_cast<c10::DeviceIndex>(device));
  constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  memory.peak = stats.reserved_bytes[kAll].peak;
  memory.peak_in_use = stats.allocated_bytes[kAll].peak;
  return memory;
}

}  // namespace dinoxx
