// Blocked matrix product for AVX-512. The text is the same for float and bfloat16, because both multiply a broadcast 32-bit word of A with
// a register of 32-bit words of B: a word is one float or a pair of bfloat16 neighbours along k (vdpbf16ps). All inner indices along k
// count words.
//
// Loops after Goto and van de Geijn (2008): B packed in panels of 32 columns, A in panels of 12 rows; 24 accumulators; a block of kc words
// along k keeps one B panel in the first-level cache, the packed rows of A in the second. All blocks of a panel are finished before the
// next panel, so that partial sums of 32 columns stay in cache.
#pragma once
#include <immintrin.h>

#include "gemm_kernels.hpp"
#include "network_kernels_impl.hpp"

namespace dinoxx::ops {
namespace DINOXX_ISA {

constexpr int kMr = 12, kNr = 32;
constexpr int64_t kMaxRowChunk = kMr * 12;
constexpr int64_t kPackedAFloats = 128 * 1024;  // of a row chunk: half of a second-level cache of 1 MiB
constexpr int64_t kMaxKc = 256;

struct FloatWords {
  using Element = float;
  static constexpr int kPerWord = 1;
  static __m512 multiply_add(__m512 acc, __m512 a, __m512 b) { return _mm512_fmadd_ps(a, b, acc); }
};

template <class W>
int64_t k_words(const Gemm& g) {
  return (g.k + W::kPerWord - 1) / W::kPerWord;
}
/// Equal blocks, so that the last is not a sliver.
inline int64_t k_block(int64_t words) {
  const int64_t blocks = (words + kMaxKc - 1) / kMaxKc;
  return blocks ? (words + blocks - 1) / blocks : 0;
}

inline void transpose16(__m512 r[16]) {
  __m512 t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
    r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
    r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
    r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
  }
  for (int i = 0; i < 4; ++i) {  // r[4 g + i]: column i of each 4x4 block, block row g
    t[i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0xdd);
    t[8 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0x88);
    r[8 + i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0xdd);
    r[4 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0x88);
    r[12 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0xdd);
  }
}

/// The first n of 16 words from p, of which the last may hold only half a pair (`elements` are valid).
inline __m512 load_words(const float* p, int64_t elements) {
  if (elements >= 16) return _mm512_loadu_ps(p);
  if (elements <= 0) return _mm512_setzero_ps();
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << elements) - 1), p);
}
inline __m512 load_words(const Bf16* p, int64_t elements) {
  if (elements >= 32) return _mm512_loadu_ps(p);
  if (elements <= 0) return _mm512_setzero_ps();
  return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(static_cast<__mmask32>((1u << elements) - 1), p));
}

/// Words for k = word, of 16 neighbours from p on, where rows along k are `stride` elements apart. `k_left` elements are left along k, `n`
/// neighbours are valid.
inline __m512 gather_word(const float* p, int64_t, int64_t, int64_t n) {
  return load_words(p, n);
}
inline __m512 gather_word(const Bf16* p, int64_t stride, int64_t k_left, int64_t n) {
  if (n <= 0) return _mm512_setzero_ps();
  const __mmask16 mask = n >= 16 ? 0xffff : static_cast<__mmask16>((1u << n) - 1);
  const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p));
  if (k_left < 2) return _mm512_castsi512_ps(low);
  const __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p + stride));
  return _mm512_castsi512_ps(_mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}

/// out[w * P + i] = word w of row i, for kc words of up to `rows` <= P rows; zeros behind. Stores run up to 16 floats beyond the end.
/// from: element (row 0, first k); row stride and k stride in elements; k_left: elements left along k from there.
template <class W, int P>
void pack_panel(const typename W::Element* from, int64_t row_stride, int64_t k_stride, int64_t rows, int64_t kc, int64_t k_left,
                float* out) {
  constexpr int per = W::kPerWord;
  if (k_stride == 1) {
    for (int64_t w = 0; w < kc; w += 16) {
      const int64_t words = kc - w < 16 ? kc - w : 16;
      // from the right: a block's stores spill into the columns on its right only for P = 12, where there is one block
      for (int block = 0; block < P; block += 16) {
        __m512 r[16];
        for (int i = 0; i < 16; ++i)
          r[i] = block + i < rows ? load_words(from + (block + i) * row_stride + w * per, k_left - w * per) : _mm512_setzero_ps();
        transpose16(r);
        for (int i = 0; i < 16; ++i) {
          if (i < words) _mm512_storeu_ps(out + (w + i) * P + block, r[i]);
        }
      }
    }
  } else {
    for (int64_t w = 0; w < kc; ++w) {
      for (int block = 0; block < P; block += 16)
        _mm512_storeu_ps(out + w * P + block, gather_word(from + w * per * k_stride + block, k_stride, k_left - w * per, rows - block));
    }
  }
}

/// tile[12][32] = (accumulate ? tile : 0) + A panel * B panel over kc words.
template <class W>
void micro_kernel(int64_t kc, const float* a, const float* b, float* tile, int64_t ld, bool accumulate) {
  __m512 acc[kMr][2];
#pragma GCC unroll 12
  for (int i = 0; i < kMr; ++i) {
    acc[i][0] = accumulate ? _mm512_loadu_ps(tile + i * ld) : _mm512_setzero_ps();
    acc[i][1] = accumulate ? _mm512_loadu_ps(tile + i * ld + 16) : _mm512_setzero_ps();
  }
  for (int64_t p = 0; p < kc; ++p) {
    const __m512 b0 = _mm512_loadu_ps(b), b1 = _mm512_loadu_ps(b + 16);
#pragma GCC unroll 12
    for (int i = 0; i < kMr; ++i) {
      const __m512 av = _mm512_set1_ps(a[i]);
      acc[i][0] = W::multiply_add(acc[i][0], av, b0);
      acc[i][1] = W::multiply_add(acc[i][1], av, b1);
    }
    a += kMr;
    b += kNr;
  }
#pragma GCC unroll 12
  for (int i = 0; i < kMr; ++i) {
    _mm512_storeu_ps(tile + i * ld, acc[i][0]);
    _mm512_storeu_ps(tile + i * ld + 16, acc[i][1]);
  }
}

inline int64_t gemm_panels(const Gemm& g) {
  return (g.n + kNr - 1) / kNr;
}
template <class W>
int64_t gemm_packed_b_size(const Gemm& g) {
  return gemm_panels(g) * kNr * k_words<W>(g) + 16;
}
/// Fewer rows where k is long, so that the packed rows fit.
template <class W>
int64_t gemm_row_chunk(const Gemm& g) {
  const int64_t words = k_words<W>(g), rows = words ? kPackedAFloats / words / kMr * kMr : kMaxRowChunk;
  return rows < kMr ? kMr : rows > kMaxRowChunk ? kMaxRowChunk : rows;
}
template <class W>
int64_t gemm_workspace_size(const Gemm& g) {
  return gemm_row_chunk<W>(g) * (k_words<W>(g) + kNr) + 16;
}

/// Panels lie one behind the other, each [words][32].
template <class W>
void gemm_pack_b(const Gemm& g, float* packed, int64_t panel_begin, int64_t panel_end) {
  using T = typename W::Element;
  const int64_t words = k_words<W>(g);
  for (int64_t p = panel_begin; p < panel_end; ++p) {
    const int64_t left = g.n - p * kNr;
    pack_panel<W, kNr>(static_cast<const T*>(g.b) + p * kNr * g.b_col, g.b_col, g.b_k, left < kNr ? left : kNr, words, g.k,
                       packed + p * kNr * words);
  }
}

/// Rows [row_begin, row_end), at most gemm_row_chunk of them.
template <class W>
void gemm_run(const Gemm& g, const float* packed_b, float* workspace, int64_t row_begin, int64_t row_end, float* column_sums) {
  using T = typename W::Element;
  const int64_t words = k_words<W>(g), kc_max = k_block(words), panels = gemm_panels(g), row_chunk = gemm_row_chunk<W>(g);
  float* tiles = workspace;                       // [rows, 32]
  float* packed_a = workspace + row_chunk * kNr;  // [block of k][panel of 12 rows][kc][12]
  if (words == 0) memset(tiles, 0, static_cast<size_t>(row_chunk) * kNr * sizeof(float));
  const int64_t padded_rows = (row_end - row_begin + kMr - 1) / kMr * kMr;
  for (int64_t k0 = 0; k0 < words; k0 += kc_max) {
    const int64_t kc = words - k0 < kc_max ? words - k0 : kc_max;
    for (int64_t r = row_begin; r < row_end; r += kMr) {
      pack_panel<W, kMr>(static_cast<const T*>(g.a) + r * g.a_row + k0 * W::kPerWord * g.a_k, g.a_row, g.a_k,
                         row_end - r < kMr ? row_end - r : kMr, kc, g.k - k0 * W::kPerWord,
                         packed_a + k0 * padded_rows + (r - row_begin) * kc);
    }
  }
  for (int64_t p = 0; p < panels; ++p) {
    const int64_t columns = g.n - p * kNr < kNr ? g.n - p * kNr : kNr;
    float* sums = column_sums ? column_sums + p * kNr : nullptr;
    for (int64_t k0 = 0; k0 < words || k0 == 0; k0 += kc_max) {
      const int64_t kc = words - k0 < kc_max ? words - k0 : kc_max;
      const bool last = k0 + kc >= words;
      for (int64_t r = row_begin; r < row_end; r += kMr) {
        float* tile = tiles + (r - row_begin) * kNr;
        micro_kernel<W>(kc, packed_a + k0 * padded_rows + (r - row_begin) * kc, packed_b + (p * words + k0) * kNr, tile, kNr, k0 > 0);
        if (last) epilogue_tile<T>(g.out, tile, kNr, r, row_end - r < kMr ? row_end : r + kMr, p * kNr, columns, sums);
      }
      if (words == 0) break;
    }
  }
}

template <class W>
constexpr GemmKernels make_gemm_kernels(CpuLevel level) {
  return {level, gemm_row_chunk<W>, gemm_packed_b_size<W>, gemm_workspace_size<W>, gemm_pack_b<W>, gemm_panels, gemm_run<W>};
}

}  // namespace DINOXX_ISA
}  // namespace dinoxx::ops
