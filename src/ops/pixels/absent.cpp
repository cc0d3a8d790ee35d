#include "dinoxx/base/error.hpp"
#include "ops/pixels.hpp"

namespace dinoxx::ops {
namespace {

[[noreturn]] void absent() {
  fail("pixels on a GPU", "a build with CUDA", "one without",
       "Run launch/setup.sh --cuda and configure with -DDINOXX_CUDA=ON, or use the CPU");
}

}  // namespace

PixelCopy::PixelCopy(const at::Tensor&, at::Device) {
  absent();
}
at::Tensor PixelCopy::normalized(const std::array<float, 3>&, const std::array<float, 3>&, at::ScalarType) const {
  absent();
}

}  // namespace dinoxx::ops
