#include "resize.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "dinoxx/base/error.hpp"
#include "kernels/image/image_kernels.hpp"

namespace dinoxx {
namespace {

ptrdiff_t round_up(ptrdiff_t value, ptrdiff_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Cubic convolution with a = -0.5 (Keys 1981), in the operation order that decides Pillow's last bits.
double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

// Weights of outputs [begin, begin + count) of a line of `in` pixels scaled to `out`. `offset` is where the line starts in the stored
// plane: groups of four are aligned to the plane, taps outside the line get no weight. flip stores the outputs last to first.
void build_axis(ResizeScratch::Axis& axis, int in, int offset, int out, int begin, int count, bool flip) {
  const double scale = static_cast<double>(in) / out;
  const double filter_scale = std::max(scale, 1.0);
  const double support = 2.0 * filter_scale, inverse = 1.0 / filter_scale;
  const int max_taps = static_cast<int>(std::ceil(support)) * 2 + 1;
  const int quads = (max_taps + 3 + 3) / 4;
  axis.outputs = count;
  axis.quads = quads;
  int* first = axis.first.ensure(static_cast<size_t>(count));
  int* used = axis.count.ensure(static_cast<size_t>(count));
  int32_t* weights = axis.weights.ensure(static_cast<size_t>(count) * static_cast<size_t>(quads) * 4);
  double* taps = axis.taps.ensure(static_cast<size_t>(max_taps));
  for (int i = 0; i < count; ++i) {
    const double center = (begin + i + 0.5) * scale;
    const int low = std::max(static_cast<int>(center - support + 0.5), 0);
    const int high = std::min(static_cast<int>(center + support + 0.5), in);
    const int n = high - low;
    double sum = 0.0;
    for (int t = 0; t < n; ++t) {
      taps[t] = bicubic((t + low - center + 0.5) * inverse);
      sum += taps[t];
    }
    const int at = flip ? count - 1 - i : i;
    const int start = offset + low, shift = start & 3;
    int32_t* group = weights + static_cast<ptrdiff_t>(at) * quads * 4;
    std::fill(group, group + quads * 4, 0);
    for (int t = 0; t < n; ++t) {
      const double weight = sum == 0.0 ? taps[t] : taps[t] / sum;
      const double fixed = weight * (1 << kernels::kWeightBits);
      group[shift + t] = static_cast<int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
    first[at] = start >> 2;
    used[at] = (shift + n + 3) >> 2;
  }
  kernels::table().pack_weights(weights, static_cast<size_t>(count) * static_cast<size_t>(quads));
}

}  // namespace

PlanarImage PlanarScratch::image(int width, int height) {
  PlanarImage image{width, height, {}};
  uint8_t* base = buffer_.ensure(3 * image.pixels());
  for (int c = 0; c < 3; ++c) image.plane[c] = base + static_cast<size_t>(c) * image.pixels();
  return image;
}

void SourceImage::assign(const Image& image) {
  if (image.width <= 0 || image.height <= 0 ||
      image.data.size() != static_cast<size_t>(image.width) * static_cast<size_t>(image.height) * 3) {
    fail("image", "width * height * 3 bytes, at least one pixel",
         fmt::format("{} x {} with {} bytes", image.width, image.height, image.data.size()), "Decode to 8-bit RGB first.");
  }
  width_ = image.width;
  height_ = image.height;
  quads_ = (width_ + 3) / 4;
  // Odd multiples of a cache line: columns of a 1024-row image must not share one set of the cache.
  stride_ = round_up(height_, 16);
  if (stride_ % 32 == 0 && stride_ >= 128) stride_ += 16;
  uint32_t* words = words_.ensure(static_cast<size_t>(3 * quads_ * stride_));
  uint32_t* const planes[3] = {words, words + quads_ * stride_, words + 2 * quads_ * stride_};
  kernels::table().split_to_quads(image.data.data(), width_, height_, planes, stride_);
}

void resize_bicubic(const SourceImage& source, const Box& crop, const ResizeSpec& spec, PlanarImage& out, ResizeScratch& scratch) {
  if (crop.x < 0 || crop.y < 0 || crop.width <= 0 || crop.height <= 0 || crop.x > source.width() - crop.width ||
      crop.y > source.height() - crop.height) {
    fail("crop", fmt::format("a box inside the image of {} x {}", source.width(), source.height()),
         fmt::format("{} x {} at ({}, {})", crop.width, crop.height, crop.x, crop.y), "Clip the box to the image.");
  }
  Box window = spec.window;
  if (window.width == 0) window = {0, 0, spec.width, spec.height};
  if (spec.width <= 0 || spec.height <= 0 || window.x < 0 || window.y < 0 || window.width <= 0 || window.height <= 0 ||
      window.x + window.width > spec.width || window.y + window.height > spec.height || out.width != window.width ||
      out.height != window.height) {
    fail("resize", "a positive size, a window inside it and an output of the window's size",
         fmt::format("size {} x {}, window {} x {} at ({}, {}), output {} x {}", spec.width, spec.height, window.width, window.height,
                     window.x, window.y, out.width, out.height),
         "Correct the sizes.");
  }
  build_axis(scratch.horizontal, crop.width, crop.x, spec.width, window.x, window.width, spec.flip);
  build_axis(scratch.vertical, crop.height, 0, spec.height, window.y, window.height, false);

  const kernels::Table& kernel = kernels::table();
  constexpr int kColumns = 16;  // columns filtered before they are turned: small enough to stay in the first-level cache
  const ptrdiff_t column_words = round_up(crop.height, 16) / 4;
  const ptrdiff_t row_words = round_up(window.width, kColumns) + 16;
  uint8_t* columns = scratch.columns.ensure(static_cast<size_t>(kColumns * column_words * 4));
  uint32_t* rows = scratch.rows.ensure(static_cast<size_t>(column_words * row_words));
  const int used_words = (crop.height + 3) / 4;

  for (int c = 0; c < 3; ++c) {
    const uint32_t* plane = source.channel(c) + crop.y;
    const ResizeScratch::Axis& h = scratch.horizontal;
    for (int x0 = 0; x0 < window.width; x0 += kColumns) {
      const int block = std::min(kColumns, window.width - x0);
      for (int x = 0; x < block; ++x) {
        kernel.filter_row(plane + h.first.data()[x0 + x] * source.quad_stride(), source.quad_stride(),
                          h.weights.data() + static_cast<ptrdiff_t>(x0 + x) * h.quads * 4, h.count.data()[x0 + x],
                          columns + x * column_words * 4, crop.height);
      }
      kernel.transpose_words(reinterpret_cast<const uint32_t*>(columns), column_words, used_words, block, rows + x0, row_words);
    }
    const ResizeScratch::Axis& v = scratch.vertical;
    for (int y = 0; y < window.height; ++y) {
      kernel.filter_row(rows + v.first.data()[y] * row_words, row_words, v.weights.data() + static_cast<ptrdiff_t>(y) * v.quads * 4,
                        v.count.data()[y], out.plane[c] + static_cast<ptrdiff_t>(y) * window.width, window.width);
    }
  }
}

}  // namespace dinoxx
