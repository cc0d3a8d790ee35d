#define DINOXX_ISA avx512bf16_gemm
#define DINOXX_LANES 16
#include "gemm_impl.hpp"

namespace dinoxx::ops {
namespace DINOXX_ISA {
struct Bf16Words {
  using Element = Bf16;
  static constexpr int kPerWord = 2;
  static __m512 multiply_add(__m512 acc, __m512 a, __m512 b) {
    return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
};
}  // namespace DINOXX_ISA
extern const GemmKernels gemm_avx512bf16 = avx512bf16_gemm::make_gemm_kernels<avx512bf16_gemm::Bf16Words>(CpuLevel::kAvx512Bf16);
}  // namespace dinoxx::ops
