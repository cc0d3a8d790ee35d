#include "image_kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

namespace dinoxx::kernels {
namespace avx512 {
namespace {
#include "gauss.inc"
#include "generic.inc"
#include "x86.inc"

inline __m512i widen(const uint8_t* p) {
  return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// See box.inc. 32 outputs at a time: sums of taps fit in 16 bits; weights of 24 bits are split into two halves of 12, of which the
// upper one's products are shifted up before the lower one's are added, all exactly. Sums and weights lie as pairs (inner, edge), as the
// 16-bit dot product wants them.
template <bool kThree>
inline void box_taps(const uint8_t* const taps[5], int n, uint32_t inner, uint32_t edge, uint8_t* out) {
  const __m512i upper = _mm512_set1_epi32(static_cast<int>((inner >> 12) | ((edge >> 12) << 16)));
  const __m512i lower = _mm512_set1_epi32(static_cast<int>((inner & 4095u) | ((edge & 4095u) << 16)));
  const __m512i half = _mm512_set1_epi32(1 << 11);  // 2^23 after the shift by 12
  const auto weigh = [&](__m512i pairs) {
    const __m512i high = _mm512_slli_epi32(_mm512_dpwssd_epi32(half, pairs, upper), 12);
    return _mm512_srli_epi32(_mm512_dpwssd_epi32(high, pairs, lower), 24);
  };
  for (int i = 0; i < n; i += 32) {
    __m512i sum = widen(taps[2] + i);
    if constexpr (kThree) sum = _mm512_add_epi16(sum, _mm512_add_epi16(widen(taps[1] + i), widen(taps[3] + i)));
    const __m512i outer = _mm512_add_epi16(widen(taps[0] + i), widen(taps[4] + i));
    const __m512i words = _mm512_packus_epi32(weigh(_mm512_unpacklo_epi16(sum, outer)), weigh(_mm512_unpackhi_epi16(sum, outer)));
    const __m256i bytes = _mm512_cvtepi16_epi8(words);
    if (n - i >= 32) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), bytes);
    } else {
      _mm256_mask_storeu_epi8(out + i, (1u << (n - i)) - 1u, bytes);
    }
  }
}
#include "box.inc"

// The byte dot product (VNNI) multiplies unsigned pixels with signed bytes: weight = b2 * 2^16 + b1 * 2^8 + b0, each part in [-128, 127].
// Group: 4 bytes of b0, 4 of b1, 4 of b2, 4 unused.
void pack_weights(int32_t* weights, size_t quads) {
  const auto low_byte = [](__m128i v) { return _mm_srai_epi32(_mm_slli_epi32(v, 24), 24); };
  for (size_t q = 0; q < quads; ++q, weights += 4) {
    const __m128i w = load16(weights);
    const __m128i b0 = low_byte(w), rest = _mm_srai_epi32(_mm_sub_epi32(w, b0), 8);
    const __m128i b1 = low_byte(rest), b2 = _mm_srai_epi32(_mm_sub_epi32(rest, b1), 8);
    store16(weights, _mm_packs_epi16(_mm_packs_epi32(b0, b1), _mm_packs_epi32(b2, _mm_setzero_si128())));
  }
}

// kBlocks * 16 outputs.
template <int kBlocks>
inline void filter_blocks(const uint32_t* rows, ptrdiff_t stride, const int32_t* weights, int quads, uint8_t* out) {
  __m512i a0[kBlocks], a1[kBlocks], a2[kBlocks];
  for (int k = 0; k < kBlocks; ++k) a0[k] = _mm512_set1_epi32(1 << (kWeightBits - 1)), a1[k] = a2[k] = _mm512_setzero_si512();
  for (int q = 0; q < quads; ++q) {
    const __m512i w0 = _mm512_set1_epi32(weights[4 * q]), w1 = _mm512_set1_epi32(weights[4 * q + 1]),
                  w2 = _mm512_set1_epi32(weights[4 * q + 2]);
    const uint32_t* row = rows + q * stride;
#pragma GCC unroll 4
    for (int k = 0; k < kBlocks; ++k) {
      const __m512i pixels = _mm512_loadu_si512(row + 16 * k);
      a0[k] = _mm512_dpbusd_epi32(a0[k], pixels, w0);
      a1[k] = _mm512_dpbusd_epi32(a1[k], pixels, w1);
      a2[k] = _mm512_dpbusd_epi32(a2[k], pixels, w2);
    }
  }
  const __m512i zero = _mm512_setzero_si512();
  __m512i sum[kBlocks];
  for (int k = 0; k < kBlocks; ++k) {
    const __m512i upper = _mm512_add_epi32(_mm512_slli_epi32(a2[k], 16), _mm512_slli_epi32(a1[k], 8));
    sum[k] = _mm512_srai_epi32(_mm512_add_epi32(upper, a0[k]), kWeightBits);
  }
  if constexpr (kBlocks == 4) {
    // Packing works per 128-bit lane and leaves four words of each sum side by side there; the permutation restores the order.
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i bytes = _mm512_packus_epi16(_mm512_packs_epi32(sum[0], sum[1]), _mm512_packs_epi32(sum[2], sum[3]));
    _mm512_storeu_si512(out, _mm512_permutexvar_epi32(order, bytes));
  } else {
    for (int k = 0; k < kBlocks; ++k) store16(out + 16 * k, _mm512_cvtusepi32_epi8(_mm512_max_epi32(sum[k], zero)));
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

const Table kAvx512Table = {CpuLevel::kAvx512Vnni,   avx512::pack_weights,
                            avx512::filter_row,      avx512::split_to_quads,
                            avx512::transpose_words, avx512::blend_with_constant,
                            avx512::luma_sum,        avx512::luma,
                            avx512::blend_with_luma, avx512::rotate_hue,
                            avx512::solarize,        avx512::box_blur,
                            avx512::gauss_blur,      avx512::normalize};

}  // namespace dinoxx::kernels
#endif
