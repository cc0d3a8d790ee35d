// The packed blocks of a build without CUDA.
#include "dinoxx/base/error.hpp"
#include "ops/packed.hpp"

namespace dinoxx::ops {
namespace {

[[noreturn]] void absent() {
  fail("a transformer block on a GPU", "a build with CUDA", "one without",
       "Run launch/setup.sh --cuda and configure with -DDINOXX_CUDA=ON, or use the CPU");
}

}  // namespace

bool packed_supported(const at::Tensor&, int64_t, int64_t, int64_t, size_t) {
  return false;
}
at::Tensor packed_norm(const at::Tensor&, const PackedRows&, const PackedBranch&, const at::Tensor&, const at::Tensor&, double) {
  absent();
}
std::vector<at::Tensor> packed_qkv(const at::Tensor&, const PackedRows&, const at::Tensor&, const at::Tensor&, int, int64_t,
                                   const std::vector<PackedRotary>&) {
  absent();
}
at::Tensor packed_projection(const std::vector<at::Tensor>&, const at::Tensor&, const at::Tensor&) {
  absent();
}
PackedOut packed_branches(const at::Tensor&, const std::vector<at::Tensor>&, const PackedRows&, const PackedWeights&, double,
                          const PackedBranch&, const PackedBranch&, const PackedNext&) {
  absent();
}
PackedFold packed_fold(const PackedFold&) {
  absent();
}
PackedRotary packed_rotary_tables(const at::Tensor&, const at::Tensor&, int64_t, int64_t, at::Device) {
  absent();
}

}  // namespace dinoxx::ops
