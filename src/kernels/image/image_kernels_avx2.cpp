#include "image_kernels.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

namespace dinoxx::kernels {
namespace avx2 {
namespace {
#include "gauss.inc"
#include "generic.inc"
#include "x86.inc"

inline __m256i widen(const uint8_t* p) {
  return _mm256_cvtepu8_epi16(load16(p));
}

// See box.inc. 16 outputs at a time: sums of taps fit in 16 bits; weights of 24 bits are split into two halves of 12, of which the
// upper one's products are shifted up before the lower one's are added, all exactly. Sums and weights lie as pairs (inner, edge), as the
// multiply-add of pairs wants them.
template <bool kThree>
inline void box_taps(const uint8_t* const taps[5], int n, uint32_t inner, uint32_t edge, uint8_t* out) {
  const __m256i upper = _mm256_set1_epi32(static_cast<int>((inner >> 12) | ((edge >> 12) << 16)));
  const __m256i lower = _mm256_set1_epi32(static_cast<int>((inner & 4095u) | ((edge & 4095u) << 16)));
  const __m256i half = _mm256_set1_epi32(1 << 23);
  const auto weigh = [&](__m256i pairs) {
    const __m256i high = _mm256_slli_epi32(_mm256_madd_epi16(pairs, upper), 12);
    return _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(high, half), _mm256_madd_epi16(pairs, lower)), 24);
  };
  for (int i = 0; i < n; i += 16) {
    __m256i sum = widen(taps[2] + i);
    if constexpr (kThree) sum = _mm256_add_epi16(sum, _mm256_add_epi16(widen(taps[1] + i), widen(taps[3] + i)));
    const __m256i outer = _mm256_add_epi16(widen(taps[0] + i), widen(taps[4] + i));
    const __m256i words = _mm256_packus_epi32(weigh(_mm256_unpacklo_epi16(sum, outer)), weigh(_mm256_unpackhi_epi16(sum, outer)));
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    if (n - i >= 16) {
      store16(out + i, bytes);
    } else {
      uint8_t last[16];
      store16(last, bytes);
      for (int k = 0; k < n - i; ++k) out[i + k] = last[k];
    }
  }
}
#include "box.inc"

// A weight of 23 bits and sign does not fit the 16-bit multiplier: weight = high * 2^11 + low with low in [-1024, 1023]. Group: 4 high,
// then 4 low, int16 each.
constexpr int kLowBits = 11;

void pack_weights(int32_t* weights, size_t quads) {
  const __m128i half = _mm_set1_epi32(1 << (kLowBits - 1));
  for (size_t q = 0; q < quads; ++q, weights += 4) {
    const __m128i w = load16(weights);
    const __m128i high = _mm_srai_epi32(_mm_add_epi32(w, half), kLowBits);
    store16(weights, _mm_packs_epi32(high, _mm_sub_epi32(w, _mm_slli_epi32(high, kLowBits))));
  }
}

// 16 outputs: each 256-bit register holds four words as 16 x int16; a multiply-add leaves two partial sums per output, added at the end.
inline void filter16(const uint32_t* rows, ptrdiff_t stride, const int32_t* weights, int quads, uint8_t* out) {
  __m256i high[4], low[4];
  for (int k = 0; k < 4; ++k) high[k] = low[k] = _mm256_setzero_si256();
  for (int q = 0; q < quads; ++q) {
    const __m256i group = _mm256_broadcastsi128_si256(load16(weights + 4 * q));
    const __m256i wh = _mm256_unpacklo_epi64(group, group), wl = _mm256_unpackhi_epi64(group, group);
    const uint32_t* row = rows + q * stride;
    for (int k = 0; k < 4; ++k) {
      const __m256i pixels = _mm256_cvtepu8_epi16(load16(row + 4 * k));
      high[k] = _mm256_add_epi32(high[k], _mm256_madd_epi16(pixels, wh));
      low[k] = _mm256_add_epi32(low[k], _mm256_madd_epi16(pixels, wl));
    }
  }
  const __m256i half = _mm256_set1_epi32(1 << (kWeightBits - 1));
  __m256i sum[2];
  for (int k = 0; k < 2; ++k) {
    // hadd works per 128-bit lane: lane 0 holds outputs 0 1 4 5, lane 1 outputs 2 3 6 7 of the eight
    const __m256i h = _mm256_hadd_epi32(high[2 * k], high[2 * k + 1]), l = _mm256_hadd_epi32(low[2 * k], low[2 * k + 1]);
    const __m256i total = _mm256_add_epi32(_mm256_add_epi32(_mm256_slli_epi32(h, kLowBits), l), half);
    sum[k] = _mm256_permute4x64_epi64(_mm256_srai_epi32(total, kWeightBits), 0xD8);
  }
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(sum[0], sum[1]), 0xD8);
  store16(out, _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}

void filter_row(const uint32_t* rows, ptrdiff_t stride, const int32_t* weights, int quads, uint8_t* out, int n) {
  for (int i = 0; i < n; i += 16) filter16(rows + i, stride, weights, quads, out + i);
}

}  // namespace
}  // namespace avx2

const Table kAvx2Table = {
    CpuLevel::kAvx2,  avx2::pack_weights, avx2::filter_row,      avx2::split_to_quads, avx2::transpose_words, avx2::blend_with_constant,
    avx2::luma_sum,   avx2::luma,         avx2::blend_with_luma, avx2::rotate_hue,     avx2::solarize,        avx2::box_blur,
    avx2::gauss_blur, avx2::normalize};

}  // namespace dinoxx::kernels
#endif
