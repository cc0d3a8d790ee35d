#pragma once
#include <cstdint>
#include <string>

namespace dinoxx {

/// True when the program was built with CUDA and NCCL.
bool built_with_nccl();
/// How many GPUs this process may use (CUDA_VISIBLE_DEVICES); 0 in a build without CUDA, without a driver or without a GPU.
int visible_gpus();
/// Why this process can use no GPU of a machine that has one: no CUDA in the build, a driver that is too old. Empty: it can, or there is
/// none.
std::string unusable_gpus();
/// Makes `device` the calling thread's GPU. Error when there is none of that number, or in a build without CUDA; its advice names `key`,
/// the option or key by which the CPU can be chosen.
void use_gpu(int device, const std::string& key);

/// Versions of what GPUs need: "13.0" of the CUDA runtime in this process and of what the driver can do at most, "2.28.9" of NCCL. Empty in
/// a build without CUDA, and what there is none of.
struct GpuVersions {
  std::string runtime, driver, nccl;
};
GpuVersions gpu_versions();

/// Which GPU this is, the same text in every process of the machine: its address on the PCI bus, and its UUID where it is a part (MIG) of
/// one. Empty when the driver does not tell, and in a build without CUDA.
struct GpuIdentity {
  std::string name;     ///< of the model
  std::string address;  ///< "0000:1b:00.0"
  std::string id;       ///< tells parts of one GPU apart
};
GpuIdentity gpu_identity(int device);

struct GpuMemory {
  std::string name;                   ///< of the GPU
  int64_t total = 0, free = 0;        ///< bytes; free: beside what all processes hold now
  int64_t peak = 0, peak_in_use = 0;  ///< bytes that LibTorch's allocator held at most in this process, and what of it tensors held at most
};
/// Error in a build without CUDA.
GpuMemory gpu_memory(int device);

}  // namespace dinoxx
