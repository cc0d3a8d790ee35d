#include "kernels/families.hpp"

#include "base/crc32c.hpp"
#include "kernels/image/image_kernels.hpp"
#include "kernels/loss/loss_level.hpp"
#include "kernels/network/gemm_kernels.hpp"
#include "kernels/network/network_kernels.hpp"
#include "kernels/optim/flat_kernels.hpp"

namespace dinoxx {
namespace {

std::optional<CpuLevel> level_of(const ops::GemmKernels* kernels) {
  return kernels ? std::optional<CpuLevel>(kernels->level) : std::nullopt;
}

}  // namespace

std::vector<KernelFamily> kernel_families() {
  return {{"checksums", crc32c_level(), true},
          {"images", kernels::table().level, true},
          {"optimizer", optim_detail::flat_kernels().level, true},
          {"losses", loss_kernel::level(), false},
          {"network, float32", ops::kernel_set(false).level, false},
          {"network, bfloat16", ops::kernel_set(true).level, false},
          {"matrix products, float32", level_of(ops::gemm_kernels(false)), false},
          {"matrix products, bfloat16", level_of(ops::gemm_kernels(true)), false}};
}

}  // namespace dinoxx
