#include <fmt/format.h>
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <vector>

#include "dinoxx/base/error.hpp"
#include "image_codecs.hpp"
#include "label_image.hpp"

namespace dinoxx::detail {
namespace {

/// One decompression; errors as in decode_jpeg.cpp: jump to the function that called libpng, which holds no objects with destructors.
struct PngSession {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::span<const uint8_t> bytes;
  size_t at = 0;
  char message[200] = {};
  std::vector<png_bytep> rows;

  explicit PngSession(std::span<const uint8_t> data) : bytes(data) {
    png = png_create_read_struct(
        PNG_LIBPNG_VER_STRING, this,
        [](png_structp p, png_const_charp text) {
          auto* session = static_cast<PngSession*>(png_get_error_ptr(p));
          std::snprintf(session->message, sizeof session->message, "%s", text);
          png_longjmp(p, 1);
        },
        [](png_structp, png_const_charp) {});
    if (png != nullptr) info = png_create_info_struct(png);
    if (info == nullptr) {
      png_destroy_read_struct(&png, nullptr, nullptr);
      fail("PNG", "a decoder", "none (out of memory)", "");
    }
    png_set_read_fn(png, this, [](png_structp p, png_bytep out, size_t n) {
      auto* session = static_cast<PngSession*>(png_get_io_ptr(p));
      if (n > session->bytes.size() - session->at) png_error(p, "truncated");
      std::memcpy(out, session->bytes.data() + session->at, n);
      session->at += n;
    });
  }
  ~PngSession() { png_destroy_read_struct(&png, &info, nullptr); }
  PngSession(const PngSession&) = delete;
  PngSession& operator=(const PngSession&) = delete;

  [[noreturn]] void report() const { fail("PNG", "an undamaged file", fmt::format("\"{}\"", message), "Repair or remove it"); }
};

bool read_header(PngSession& s) {
  if (setjmp(png_jmpbuf(s.png)) != 0) return false;
  // Too little or too much pixel data is an error; text, colour profiles and the like are not looked at, so that they cannot be one
  png_set_benign_errors(s.png, 0);
  png_set_keep_unknown_chunks(s.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_set_user_limits(s.png, 0x7FFFFFFF, 0x7FFFFFFF);  // check_dimensions decides, with a message of its own
  png_read_info(s.png, s.info);
  return true;
}

bool start(PngSession& s) {
  if (setjmp(png_jmpbuf(s.png)) != 0) return false;
  const int colour = png_get_color_type(s.png, s.info);
  if (colour == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(s.png);
  if (colour == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(s.png, s.info) < 8) png_set_expand_gray_1_2_4_to_8(s.png);
  if ((colour & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(s.png);
  png_set_strip_16(s.png);
  png_set_strip_alpha(s.png);
  png_set_interlace_handling(s.png);
  png_read_update_info(s.png, s.info);
  return true;
}

// One byte a pixel with the number as stored.
bool start_labels(PngSession& s) {
  if (setjmp(png_jmpbuf(s.png)) != 0) return false;
  png_set_packing(s.png);
  png_set_interlace_handling(s.png);
  png_read_update_info(s.png, s.info);
  return true;
}

bool read_rows(PngSession& s) {
  if (setjmp(png_jmpbuf(s.png)) != 0) return false;
  png_read_image(s.png, s.rows.data());
  png_read_end(s.png, nullptr);  // the last checksums
  return true;
}

struct Size {
  uint32_t width, height;
};

Size read_size(PngSession& s, const DecodeLimits& limits) {
  if (!read_header(s)) s.report();
  const uint32_t width = png_get_image_width(s.png, s.info), height = png_get_image_height(s.png, s.info);
  check_dimensions(width, height, limits);
  // deflate packs at most 1032 to 1, and a pixel takes at least a bit
  if (uint64_t{width} * height / (1032 * 8) > s.bytes.size()) {
    fail("PNG", fmt::format("data for {} x {} pixels", width, height), fmt::format("{} bytes", s.bytes.size()), "The file is truncated or its header damaged");
  }
  return {width, height};
}

void read_pixels(PngSession& s, const Size& size, size_t channels, std::vector<uint8_t>& out) {
  const size_t stride = size.width * channels;
  if (png_get_rowbytes(s.png, s.info) != stride) {
    fail("PNG", fmt::format("rows of {} bytes", stride), fmt::format("{} bytes a row", png_get_rowbytes(s.png, s.info)), "");
  }
  out.resize(stride * size.height);
  s.rows.resize(size.height);
  for (size_t y = 0; y < size.height; ++y) s.rows[y] = out.data() + y * stride;
  if (!read_rows(s)) s.report();
}

}  // namespace

void decode_png(std::span<const uint8_t> bytes, Image& out, const DecodeLimits& limits) {
  PngSession s(bytes);
  const Size size = read_size(s, limits);
  if (!start(s)) s.report();
  read_pixels(s, size, 3, out.data);
  out.width = static_cast<int>(size.width);
  out.height = static_cast<int>(size.height);
}

ImageInfo inspect_png(std::span<const uint8_t> bytes) {
  PngSession s(bytes);
  if (!read_header(s)) s.report();
  ImageInfo info;
  info.width = static_cast<int>(png_get_image_width(s.png, s.info));
  info.height = static_cast<int>(png_get_image_height(s.png, s.info));
  info.channels = png_get_channels(s.png, s.info);
  info.bits = png_get_bit_depth(s.png, s.info);
  info.palette = png_get_color_type(s.png, s.info) == PNG_COLOR_TYPE_PALETTE;
  return info;
}

}  // namespace dinoxx::detail

namespace dinoxx {

LabelImage decode_label_png(std::span<const uint8_t> bytes, const DecodeLimits& limits) {
  if (detect_codec(bytes) != Codec::kPng) fail("label image", "a PNG", "a JPEG", "Compression would change the numbers of objects.");
  detail::PngSession s(bytes);
  const detail::Size size = detail::read_size(s, limits);
  const int colour = png_get_color_type(s.png, s.info), bits = png_get_bit_depth(s.png, s.info);
  if ((colour != PNG_COLOR_TYPE_PALETTE && colour != PNG_COLOR_TYPE_GRAY) || bits > 8) {
    fail("label image", "a PNG with a palette, or gray with at most 8 bits, whose values number the objects",
         fmt::format("{} bits in {} channels", bits, png_get_channels(s.png, s.info)), "Save it as an indexed PNG.");
  }
  if (!detail::start_labels(s)) s.report();
  LabelImage labels{static_cast<int>(size.width), static_cast<int>(size.height), {}};
  detail::read_pixels(s, size, 1, labels.data);
  return labels;
}

}  // namespace dinoxx
