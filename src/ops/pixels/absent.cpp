#include "dinoxx/base/error.hpp"
#include "ops/pixels.hpp"

namespace dinoxx::ops {

at::Tensor normalized_pixels(const at::Tensor&, const std::array<float, 3>&, const std::array<float, 3>&, at::ScalarType, at::Device) {
  fail("pixels on a GPU", "a build with CUDA", "one without",
       "Run launch/setup.sh --cuda and configure with -DDINOXX_CUDA=ON, or use the CPU");
}

}  // namespace dinoxx::ops
