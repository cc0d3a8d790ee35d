#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "dinoxx/base/error.hpp"
#include "image_codecs.hpp"
#include "label_image.hpp"

namespace dinoxx::detail {
namespace {

constexpr size_t kSmallPart = 64;  // bytes

/// Faults that cost no pixel. Bits of PngSession::harmless.
enum Harmless : uint32_t { kChecksum = 1, kSurplus = 2, kMetadata = 4, kEnd = 8, kImageChecksum = 16 };
struct HarmlessName {
  uint32_t bit;
  const char* name;
};
constexpr std::array<HarmlessName, 5> kHarmlessNames = {{{kChecksum, "wrong checksum of a part without pixels"},
                                                         {kSurplus, "more data than pixels"},
                                                         {kMetadata, "faulty metadata"},
                                                         {kEnd, "damage after the last pixel"},
                                                         {kImageChecksum, "wrong checksum of sound pixels"}}};

/// One decompression; errors as in decode_jpeg.cpp: jump to the function that called libpng, which holds no objects with destructors.
struct PngSession {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::span<const uint8_t> bytes;
  size_t at = 0;
  char message[200] = {};  ///< of the error, else of the first warning
  char lost[200] = {};     ///< what means lost pixels
  uint32_t harmless = 0;
  bool warned = false;
  bool bad_stream = false;  ///< zlib's checksum of the pixels is wrong, or was not reached
  std::vector<png_bytep> rows;

  explicit PngSession(std::span<const uint8_t> data) : bytes(data) {
    png = png_create_read_struct(
        PNG_LIBPNG_VER_STRING, this,
        [](png_structp p, png_const_charp text) {
          auto* session = static_cast<PngSession*>(png_get_error_ptr(p));
          std::snprintf(session->message, sizeof session->message, "%s", text);
          png_longjmp(p, 1);
        },
        [](png_structp p, png_const_charp text) { static_cast<PngSession*>(png_get_error_ptr(p))->take_warning(text); });
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

  /// What a warning means for the pixels; called from inside libpng.
  void take_warning(const char* text) {
    if (!std::exchange(warned, true)) std::snprintf(message, sizeof message, "%s", text);
    const std::string_view words(text);
    const bool checksum = words.find("CRC error") != std::string_view::npos;
    if ((checksum && (words.starts_with("IHDR") || words.starts_with("PLTE"))) || words.find("palette index") != std::string_view::npos)
      lose(text);
    else if (!words.starts_with("IDAT"))
      harmless |= checksum ? kChecksum : kMetadata;
    else if (checksum)
      harmless |= kImageChecksum;
    else if (words.find("compressed data") != std::string_view::npos || words.find("image data") != std::string_view::npos)
      harmless |= kSurplus;
    else
      bad_stream = true;
  }
  void lose(const char* why) {
    if (lost[0] == '\0') std::snprintf(lost, sizeof lost, "%s", why);
  }

  [[noreturn]] static void report(const char* text) {
    fail("PNG", "an undamaged file", fmt::format("\"{}\"", text), "Repair or remove it");
  }
  /// Of the error by which libpng ended.
  [[noreturn]] void report() const {
    if (std::string_view(message).find("critical chunk") != std::string_view::npos) {  // CgBI of iPhones, for one
      fail_unsupported("PNG", message, "Save it again as an ordinary PNG");
    }
    report(message);
  }
};

bool read_header(PngSession& s, bool in_small_parts) {
  if (setjmp(png_jmpbuf(s.png)) != 0) return false;
  // Faults come as warnings, and take_warning says what they mean; text, colour profiles and the like are not looked at
  png_set_benign_errors(s.png, 1);
  png_set_crc_action(s.png, PNG_CRC_WARN_USE, PNG_CRC_WARN_DISCARD);
  png_set_keep_unknown_chunks(s.png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_set_user_limits(s.png, 0x7FFFFFFF, 0x7FFFFFFF);                      // check_dimensions decides, with a message of its own
  if (in_small_parts) png_set_compression_buffer_size(s.png, kSmallPart);  // of a part that is cut libpng takes nothing
  png_read_info(s.png, s.info);
  return true;
}

bool start(PngSession& s) {
  if (setjmp(png_jmpbuf(s.png)) != 0) return false;
  const int colour = png_get_color_type(s.png, s.info);
  if (colour == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(s.png);
  if (colour == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(s.png, s.info) < 8) png_set_expand_gray_1_2_4_to_8(s.png);
  if ((colour & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(s.png);
  if (png_get_bit_depth(s.png, s.info) == 16) png_set_swap(s.png);  // to the order of this machine
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
  return true;
}

/// The last checksums and chunks. All pixels are there already.
bool read_end(PngSession& s) {
  if (setjmp(png_jmpbuf(s.png)) != 0) return false;
  png_read_end(s.png, nullptr);
  return true;
}

struct Size {
  uint32_t width, height;
};

Size read_size(PngSession& s, const DecodeLimits& limits) {
  if (!read_header(s, limits.tolerance == Tolerance::kLenient)) s.report();
  const uint32_t width = png_get_image_width(s.png, s.info), height = png_get_image_height(s.png, s.info);
  check_dimensions(width, height, limits);
  // deflate packs at most 1032 to 1, and a pixel takes at least a bit
  if (uint64_t{width} * height / (1032 * 8) > s.bytes.size()) {
    fail("PNG", fmt::format("data for {} x {} pixels", width, height), fmt::format("{} bytes", s.bytes.size()),
         "The file is truncated or its header damaged");
  }
  return {width, height};
}

void read_pixels(PngSession& s, const Size& size, size_t channels, Tolerance tolerance, std::vector<uint8_t>& out, DecodeNotes& notes) {
  const size_t stride = size.width * channels;
  if (png_get_rowbytes(s.png, s.info) != stride) {
    fail("PNG", fmt::format("rows of {} bytes", stride), fmt::format("{} bytes a row", png_get_rowbytes(s.png, s.info)), "");
  }
  out.assign(stride * size.height, 0);
  s.rows.resize(size.height);
  for (size_t y = 0; y < size.height; ++y) s.rows[y] = out.data() + y * stride;
  bool something = true;
  if (!read_rows(s)) {
    something = png_get_current_row_number(s.png) > 0 || png_get_current_pass_number(s.png) > 0;
    s.lose(s.message);
  } else if (!read_end(s)) {
    s.harmless |= kEnd;
    s.bad_stream = true;
  }
  // One of the two checksums of the pixels may be wrong; with both nothing speaks for them
  if ((s.harmless & kImageChecksum) != 0 && s.bad_stream)
    s.lose("IDAT: CRC error");
  else if (s.bad_stream && (s.harmless & kEnd) == 0)
    s.harmless |= kImageChecksum;

  const bool lost = s.lost[0] != '\0';
  if (lost && !(tolerance == Tolerance::kLenient && something)) s.report(s.lost);
  if (tolerance == Tolerance::kStrict && (s.warned || s.harmless != 0)) s.report(s.message);
  if (lost) notes.lost = s.lost;
  for (const HarmlessName& one : kHarmlessNames) {
    if ((s.harmless & one.bit) != 0) notes.harmless.emplace_back(one.name);
  }
}

}  // namespace

void decode_png(std::span<const uint8_t> bytes, Image& out, const DecodeLimits& limits, DecodeNotes& notes) {
  PngSession s(bytes);
  const Size size = read_size(s, limits);
  if (!start(s)) s.report();
  if (png_get_bit_depth(s.png, s.info) < 16) {
    read_pixels(s, size, 3, limits.tolerance, out.data, notes);
  } else {
    std::vector<uint8_t> samples;
    read_pixels(s, size, 6, limits.tolerance, samples, notes);
    out.data.resize(samples.size() / 2);
    uint16_t most = 0;
    for (size_t i = 0; i < out.data.size(); ++i) {
      uint16_t sample;
      std::memcpy(&sample, samples.data() + 2 * i, sizeof sample);
      most = std::max(most, sample);
      out.data[i] = static_cast<uint8_t>(std::min(255, sample >> (limits.used_bits - 8)));
    }
    notes.peak = most;
  }
  out.width = static_cast<int>(size.width);
  out.height = static_cast<int>(size.height);
}

ImageInfo inspect_png(std::span<const uint8_t> bytes) {
  PngSession s(bytes);
  if (!read_header(s, false)) s.report();
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
  DecodeNotes notes;
  detail::read_pixels(s, size, 1, limits.tolerance, labels.data, notes);
  return labels;
}

}  // namespace dinoxx
