// GPUs in a build without CUDA.
#include <fmt/format.h>

#include <filesystem>

#include "dinoxx/base/error.hpp"
#include "gpu.hpp"

namespace dinoxx {

bool built_with_nccl() {
  return false;
}

int visible_gpus() {
  return 0;
}

std::string unusable_gpus() {
  std::error_code ignored;
  const std::filesystem::path listed = "/proc/driver/nvidia/gpus";
  const bool some = std::filesystem::exists(listed, ignored) && !std::filesystem::is_empty(listed, ignored);
  return some ? "GPUs, and a program that was built without CUDA (launch/setup.sh --cuda, then configure with -DDINOXX_CUDA=ON)" : "";
}

void use_gpu(int, const std::string& key) {
  fail("GPU", "a build with CUDA", "one without",
       fmt::format("Run launch/setup.sh --cuda and configure with -DDINOXX_CUDA=ON, or choose --{} cpu", key));
}

GpuVersions gpu_versions() {
  return {};
}

GpuIdentity gpu_identity(int) {
  return {};
}

GpuMemory gpu_memory(int) {
  fail("GPU", "a build with CUDA", "one without", "This is a defect of the program");
}

}  // namespace dinoxx
