// The definition of every kernel in plain C++; the vector versions must equal it in every byte.
#include "image_kernels.hpp"

namespace dinoxx::kernels {
namespace portable {
#include "gauss.inc"
#include "generic.inc"

// See box.inc.
template <bool kThree>
inline void box_taps(const uint8_t* const taps[5], int n, uint32_t inner, uint32_t edge, uint8_t* __restrict out) {
  const uint8_t *a = taps[0], *b = taps[1], *c = taps[2], *d = taps[3], *e = taps[4];
  for (int i = 0; i < n; ++i) {
    const uint32_t sum = kThree ? static_cast<uint32_t>(b[i]) + c[i] + d[i] : c[i];
    out[i] = static_cast<uint8_t>((inner * sum + edge * (static_cast<uint32_t>(a[i]) + e[i]) + (1u << 23)) >> 24);
  }
}

inline void transpose_bytes(const uint8_t* in, ptrdiff_t in_stride, int width, int height, uint8_t* out, ptrdiff_t out_stride) {
  for (int x = 0; x < width; ++x) {
    for (int y = 0; y < height; ++y) out[x * out_stride + y] = in[y * in_stride + x];
  }
}
#include "box.inc"

namespace {

void pack_weights(int32_t*, size_t) {}  // plain int32 already

void filter_row(const uint32_t* rows, ptrdiff_t stride, const int32_t* weights, int quads, uint8_t* out, int n) {
  for (int i = 0; i < n; ++i) {
    int32_t sum = 1 << (kWeightBits - 1);
    for (int q = 0; q < quads; ++q) {
      const uint32_t word = rows[q * stride + i];
      for (int t = 0; t < 4; ++t) sum += weights[4 * q + t] * static_cast<int32_t>((word >> (8 * t)) & 255u);
    }
    out[i] = static_cast<uint8_t>(clip8(sum >> kWeightBits));
  }
}

void split_to_quads(const uint8_t* rgb, int width, int height, uint32_t* const planes[3], ptrdiff_t stride) {
  for (int y = 0; y < height; ++y) {
    const uint8_t* row = rgb + static_cast<ptrdiff_t>(y) * width * 3;
    for (int quad = 0; quad * 4 < width; ++quad) {
      for (int c = 0; c < 3; ++c) {
        uint32_t word = 0;
        for (int t = 0; t < 4 && quad * 4 + t < width; ++t) word |= static_cast<uint32_t>(row[(quad * 4 + t) * 3 + c]) << (8 * t);
        planes[c][quad * stride + y] = word;
      }
    }
  }
}

void transpose_words(const uint32_t* in, ptrdiff_t in_stride, int rows, int columns, uint32_t* out, ptrdiff_t out_stride) {
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < columns; ++c) out[r * out_stride + c] = in[c * in_stride + r];
  }
}

}  // namespace
}  // namespace portable

const Table kPortableTable = {CpuLevel::kGeneric,        portable::pack_weights,
                              portable::filter_row,      portable::split_to_quads,
                              portable::transpose_words, portable::blend_with_constant,
                              portable::luma_sum,        portable::luma,
                              portable::blend_with_luma, portable::rotate_hue,
                              portable::solarize,        portable::box_blur,
                              portable::gauss_blur,      portable::normalize};

}  // namespace dinoxx::kernels
