#include "kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

namespace dinoxx::kernels {
namespace avx512 {
namespace {
#include "kernels_generic.inc"
#include "kernels_x86.inc"

// The byte dot product (VNNI) multiplies unsigned pixels with signed bytes: weight = b2 * 2^16 + b1 * 2^8 + b0, each part in [-128, 127].
// Group: 4 bytes of b0, 4 of b1, 4 of b2, 4 unused.
void pack_weights(int32_t* weights, size_t quads) {
  for (size_t q = 0; q < quads; ++q, weights += 4) {
    uint32_t packed[3] = {0, 0, 0};
    for (int t = 0; t < 4; ++t) {
      const int32_t w = weights[t];
      const int32_t b0 = static_cast<int8_t>(w), rest = (w - b0) >> 8;
      const int32_t b1 = static_cast<int8_t>(rest), b2 = (rest - b1) >> 8;
      packed[0] |= static_cast<uint32_t>(b0 & 255) << (8 * t);
      packed[1] |= static_cast<uint32_t>(b1 & 255) << (8 * t);
      packed[2] |= static_cast<uint32_t>(b2 & 255) << (8 * t);
    }
    for (int k = 0; k < 3; ++k) weights[k] = static_cast<int32_t>(packed[k]);
    weights[3] = 0;
  }
}

// kBlocks * 16 outputs.
template <int kBlocks>
inline void filter_blocks(const uint32_t* rows, ptrdiff_t stride, const int32_t* weights, int quads, uint8_t* out) {
  __m512i a0[kBlocks], a1[kBlocks], a2[kBlocks];
  for (int k = 0; k < kBlocks; ++k) a0[k] = a1[k] = a2[k] = _mm512_setzero_si512();
  for (int q = 0; q < quads; ++q) {
    const __m512i w0 = _mm512_set1_epi32(weights[4 * q]), w1 = _mm512_set1_epi32(weights[4 * q + 1]), w2 = _mm512_set1_epi32(weights[4 * q + 2]);
    const uint32_t* row = rows + q * stride;
#pragma GCC unroll 4
    for (int k = 0; k < kBlocks; ++k) {
      const __m512i pixels = _mm512_loadu_si512(row + 16 * k);
      a0[k] = _mm512_dpbusd_epi32(a0[k], pixels, w0);
      a1[k] = _mm512_dpbusd_epi32(a1[k], pixels, w1);
      a2[k] = _mm512_dpbusd_epi32(a2[k], pixels, w2);
    }
  }
  const __m512i half = _mm512_set1_epi32(1 << (kWeightBits - 1));
  for (int k = 0; k < kBlocks; ++k) {
    const __m512i upper = _mm512_add_epi32(_mm512_slli_epi32(a2[k], 16), _mm512_slli_epi32(a1[k], 8));
    const __m512i total = _mm512_srai_epi32(_mm512_add_epi32(_mm512_add_epi32(upper, a0[k]), half), kWeightBits);
    store16(out + 16 * k, _mm512_cvtusepi32_epi8(_mm512_max_epi32(total, _mm512_setzero_si512())));
  }
}

void filter_row(const uint32_t* rows, ptrdiff_t stride, const int32_t* weights, int quads, uint8_t* out, int n) {
  int i = 0;
  for (; n - i > 48; i += 64) filter_blocks<4>(rows + i, stride, weights, quads, out + i);
  if (n - i > 16) filter_blocks<2>(rows + i, stride, weights, quads, out + i), i += 32;
  if (n - i > 0) filter_blocks<1>(rows + i, stride, weights, quads, out + i);
}

}  // namespace
}  // namespace avx512

const Table kAvx512Table = {avx512::pack_weights,  avx512::filter_row, avx512::split_to_quads,  avx512::transpose_words, avx512::blend_with_constant,
                            avx512::luma_sum,      avx512::luma,       avx512::blend_with_luma, avx512::rotate_hue,      avx512::solarize,
                            avx512::box_rows,      avx512::box_columns, avx512::normalize};

}  // namespace dinoxx::kernels
#endif
