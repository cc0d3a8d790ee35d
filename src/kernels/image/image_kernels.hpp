#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/cpu_level.hpp"

// Inner loops of resize, colour, blur and normalisation, built once per instruction set and chosen at run time. All sets give equal bytes:
// integers are exact, floating-point steps are single operations without contraction. This header holds declarations only, because it is
// compiled with different flags per file.

namespace dinoxx::kernels {

constexpr int kWeightBits = 22;      ///< fractional bits of a resize weight, as in Pillow
constexpr int kRowGranularity = 16;  ///< filter_row reads words and writes bytes up to the next multiple

/// Two planes, each padded to blocks of 16 x 16.
constexpr size_t box_scratch(int width, int height) {
  return 2 * (static_cast<size_t>(width + 15) / 16 * 16) * (static_cast<size_t>(height + 15) / 16 * 16) + 512;
}

/// A row with its reflected edges, a row of sums and a plane.
constexpr size_t gauss_scratch(int width, int height) {
  return static_cast<size_t>(width) * (static_cast<size_t>(height) + 2) + 8;
}

struct Table {
  CpuLevel level;  ///< that it needs

  /// Turns `quads` groups of four weights from int32 into the form that filter_row of the same table wants, in place (16 bytes per group).
  void (*pack_weights)(int32_t* weights, size_t quads);
  /// out[i] = clip8((2^21 + sum over q < quads, t < 4 of weights[q][t] * byte t of rows[q * stride + i]) >> 22) for i < n.
  void (*filter_row)(const uint32_t* rows, ptrdiff_t stride, const int32_t* weights, int quads, uint8_t* out, int n);
  /// RGB rows to quads (see SourceImage): planes[c][(x / 4) * stride + y].
  void (*split_to_quads)(const uint8_t* rgb, int width, int height, uint32_t* const planes[3], ptrdiff_t stride);
  /// out[r * out_stride + c] = in[c * in_stride + r] for r < rows, c < columns; rows and columns may be exceeded up to the next multiple
  /// of 4.
  void (*transpose_words)(const uint32_t* in, ptrdiff_t in_stride, int rows, int columns, uint32_t* out, ptrdiff_t out_stride);

  /// v = clip8(trunc(pivot + factor * (v - pivot)))
  void (*blend_with_constant)(uint8_t* v, size_t n, float factor, int pivot);
  uint64_t (*luma_sum)(const uint8_t* r, const uint8_t* g, const uint8_t* b, size_t n);
  void (*luma)(const uint8_t* r, const uint8_t* g, const uint8_t* b, uint8_t* out, size_t n);
  void (*blend_with_luma)(uint8_t* r, uint8_t* g, uint8_t* b, size_t n, float factor);
  void (*rotate_hue)(uint8_t* r, uint8_t* g, uint8_t* b, size_t n, int shift);
  void (*solarize)(uint8_t* v, size_t n);

  /// Three extended box filters along rows, then three along columns, in place: radius whole taps on each side of weight `inner`, one more
  /// of weight `edge`, 24 fractional bits, rounded to 8 bits after each. `scratch` has room for box_scratch(width, height) bytes.
  void (*box_blur)(uint8_t* plane, int width, int height, int radius, uint32_t inner, uint32_t edge, uint8_t* scratch);

  /// Nine taps in float32 along rows, then along columns, edges reflected, rounded once, half to even, in place. weights[k]: of the taps at
  /// distance k. Sides of at least 5. `scratch` has room for gauss_scratch(width, height) floats.
  void (*gauss_blur)(uint8_t* plane, int width, int height, const float* weights, float* scratch);

  /// out = v * scale + bias
  void (*normalize)(const uint8_t* v, size_t n, float scale, float bias, float* out);
};

extern const Table kPortableTable;
#if defined(__x86_64__)
extern const Table kAvx2Table;
extern const Table kAvx512Table;
#endif

/// The table for cpu_level().
const Table& table();

}  // namespace dinoxx::kernels
