#include <fmt/format.h>
#include <png.h>

#include <array>
#include <csetjmp>
#include <cstdio>

#include "dinoxx/base/error.hpp"
#include "dinoxx/data_pipeline/image.hpp"
#include "label_image.hpp"

namespace dinoxx {
namespace {

struct PngWriter {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::vector<uint8_t> bytes;
  char message[200] = {};

  PngWriter() {
    png = png_create_write_struct(
        PNG_LIBPNG_VER_STRING, this,
        [](png_structp p, png_const_charp text) {
          auto* writer = static_cast<PngWriter*>(png_get_error_ptr(p));
          std::snprintf(writer->message, sizeof writer->message, "%s", text);
          png_longjmp(p, 1);
        },
        [](png_structp, png_const_charp) {});
    if (png != nullptr) info = png_create_info_struct(png);
    if (info == nullptr) {
      png_destroy_write_struct(&png, nullptr);
      fail("PNG", "an encoder", "none (out of memory)", "");
    }
  }
  ~PngWriter() { png_destroy_write_struct(&png, &info); }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;
};

std::array<png_color, 256> voc_palette() {
  std::array<png_color, 256> palette{};
  for (int i = 0; i < 256; ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      png_color& colour = palette[static_cast<size_t>(i)];
      png_byte& channel = bit % 3 == 0 ? colour.red : bit % 3 == 1 ? colour.green : colour.blue;
      channel = static_cast<png_byte>(channel | ((i >> bit & 1) << (7 - bit / 3)));
    }
  }
  return palette;
}

/// No objects with destructors here: libpng's errors jump back to the setjmp.
bool write(PngWriter& w, const uint8_t* pixels, int width, int height, int colour, size_t stride) {
  if (setjmp(png_jmpbuf(w.png)) != 0) return false;
  png_set_write_fn(
      w.png, &w.bytes,
      [](png_structp p, png_bytep data, size_t n) {
        auto* bytes = static_cast<std::vector<uint8_t>*>(png_get_io_ptr(p));
        bytes->insert(bytes->end(), data, data + n);
      },
      nullptr);
  png_set_IHDR(w.png, w.info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), 8, colour, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  if (colour == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(w.png, w.info, voc_palette().data(), 256);
  png_write_info(w.png, w.info);
  for (int y = 0; y < height; ++y) png_write_row(w.png, pixels + static_cast<size_t>(y) * stride);
  png_write_end(w.png, nullptr);
  return true;
}

std::vector<uint8_t> encode(std::span<const uint8_t> pixels, int width, int height, int colour, size_t channels) {
  const size_t stride = static_cast<size_t>(width) * channels;
  if (width <= 0 || height <= 0 || pixels.size() != stride * static_cast<size_t>(height)) {
    fail("PNG", "width x height x channels bytes", fmt::format("{} bytes for {} x {} x {}", pixels.size(), width, height, channels), "");
  }
  PngWriter writer;
  if (!write(writer, pixels.data(), width, height, colour, stride)) fail("PNG", "to encode", fmt::format("\"{}\"", writer.message), "");
  return std::move(writer.bytes);
}

}  // namespace

std::vector<uint8_t> encode_png(const Image& image) { return encode(image.data, image.width, image.height, PNG_COLOR_TYPE_RGB, 3); }

std::vector<uint8_t> encode_gray_png(std::span<const uint8_t> pixels, int width, int height) {
  return encode(pixels, width, height, PNG_COLOR_TYPE_GRAY, 1);
}

std::vector<uint8_t> encode_label_png(const LabelImage& labels) {
  return encode(labels.data, labels.width, labels.height, PNG_COLOR_TYPE_PALETTE, 1);
}

}  // namespace dinoxx
