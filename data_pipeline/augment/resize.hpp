#pragma once
#include <cstddef>
#include <cstdint>

#include "dinoxx/data_pipeline/image.hpp"
#include "scratch.hpp"

namespace dinoxx {

/// Part of an image in pixels.
struct Box {
  int x = 0, y = 0, width = 0, height = 0;
};

/// 8-bit planes r, g, b of width x height without row padding. One channel's plane may be written up to 63 bytes past its end (see
/// PlanarScratch).
struct PlanarImage {
  int width = 0, height = 0;
  uint8_t* plane[3] = {nullptr, nullptr, nullptr};
  size_t pixels() const { return static_cast<size_t>(width) * static_cast<size_t>(height); }
};

/// Owns the memory of a PlanarImage; used again from view to view.
class PlanarScratch {
 public:
  PlanarImage image(int width, int height);

 private:
  ScratchBuffer<uint8_t> buffer_;
};

/// A decoded image turned so that resizing runs along contiguous memory: per channel, groups of four neighbouring columns ("quads") are
/// stored as 32-bit words, one word per row: quad(c, x / 4)[y] holds pixels (x .. x+3, y), the leftmost in the lowest byte. The horizontal
/// filter then has the same form as the vertical one: a weighted sum of a few rows of words. Made once per image, shared by all its crops.
class SourceImage {
 public:
  void assign(const Image& image);
  int width() const { return width_; }
  int height() const { return height_; }
  /// Words from one quad to the next.
  ptrdiff_t quad_stride() const { return stride_; }
  const uint32_t* channel(int c) const { return words_.data() + static_cast<ptrdiff_t>(c) * quads_ * stride_; }

 private:
  int width_ = 0, height_ = 0;
  ptrdiff_t quads_ = 0, stride_ = 0;
  ScratchBuffer<uint32_t> words_;
};

/// What to make of a crop: the crop is scaled to width x height and of that the window is kept (all of it when window.width == 0), mirrored
/// when `flip`.
struct ResizeSpec {
  int width = 0, height = 0;
  Box window;
  bool flip = false;
};

/// Memory for resize_bicubic, one per thread.
struct ResizeScratch {
  struct Axis {
    int outputs = 0, quads = 0;       ///< quads reserved per output
    ScratchBuffer<int> first, count;  ///< first quad and number of quads per output
    ScratchBuffer<int32_t> weights;   ///< [outputs][quads][4], in the form that the kernel wants
    ScratchBuffer<double> taps;
  };
  Axis horizontal, vertical;
  ScratchBuffer<uint8_t> columns;
  ScratchBuffer<uint32_t> rows;
};

/// Antialiased bicubic (a = -0.5) of a crop, equal to Pillow's Image.crop(box).resize(size, BICUBIC) in every bit: weights in fixed point
/// with 22 fractional bits, first horizontally, rounded to 8 bits, then vertically; taps never look outside the crop (Pillow,
/// src/libImaging/Resample.c; version 13 filters vertically first where that shrinks more, the versions that published models were trained
/// with do not). Error when the crop leaves the image or a size is not positive.
void resize_bicubic(const SourceImage& source, const Box& crop, const ResizeSpec& spec, PlanarImage& out, ResizeScratch& scratch);

}  // namespace dinoxx
