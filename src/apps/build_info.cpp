#include "build_info.hpp"

#include <torch/headeronly/version.h>

#include "comm/gpu.hpp"
#include "git_version.hpp"

namespace dinoxx {

nlohmann::json build_info() {
  return {{"dinoxx", DINOXX_VERSION},        {"git", DINOXX_GIT_HASH},    {"compiler", DINOXX_COMPILER},
          {"build_type", DINOXX_BUILD_TYPE}, {"libtorch", TORCH_VERSION}, {"cuda", built_with_nccl()}};
}

}  // namespace dinoxx
