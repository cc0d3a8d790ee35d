#include <csetjmp>
#include <cstdio>
#include <vector>

#include <fmt/format.h>
#include <jpeglib.h>

#include "dinoxx/base/error.hpp"
#include "image_codecs.hpp"

namespace dinoxx::detail {
namespace {

// A scan costs a pass over the whole image: hundreds of empty scans are an attack, not a picture.
constexpr int kMaxScans = 200;
// A block of 64 pixels takes at least a bit in Huffman coding. More pixels than that in so few bytes is a damaged header, and would cost its memory first.
constexpr uint64_t kMaxPixelsPerByte = 4096;
constexpr uint64_t kSmallImage = uint64_t{1} << 22;

/// One decompression. libjpeg reports errors by a function that must not return: it jumps back to the setjmp of the function below that called libjpeg.
/// Exceptions must not cross C frames, so that function holds no objects with destructors and hands the text to its caller.
struct JpegSession {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf jump{};
  char message[JMSG_LENGTH_MAX] = {};
  std::vector<uint8_t> cmyk_row;

  JpegSession() {
    info.err = jpeg_std_error(&errors);
    errors.error_exit = [](j_common_ptr common) {
      auto* session = static_cast<JpegSession*>(common->client_data);
      common->err->format_message(common, session->message);
      std::longjmp(session->jump, 1);
    };
    errors.emit_message = [](j_common_ptr common, int level) {
      if (level >= 0) return;  // trace
      auto* session = static_cast<JpegSession*>(common->client_data);
      if (common->err->num_warnings++ == 0) common->err->format_message(common, session->message);
    };
    info.client_data = this;
  }
  ~JpegSession() { jpeg_destroy_decompress(&info); }
  JpegSession(const JpegSession&) = delete;
  JpegSession& operator=(const JpegSession&) = delete;

  [[noreturn]] void report() const { fail("JPEG", "an undamaged file", fmt::format("\"{}\"", message), "Repair or remove it"); }
};

bool read_header(JpegSession& s, std::span<const uint8_t> bytes) {
  if (setjmp(s.jump) != 0) return false;
  jpeg_create_decompress(&s.info);
  s.info.client_data = &s;  // create clears all but the error manager in some versions
  jpeg_mem_src(&s.info, bytes.data(), static_cast<unsigned long>(bytes.size()));
  jpeg_read_header(&s.info, TRUE);
  return true;
}

bool start(JpegSession& s) {
  if (setjmp(s.jump) != 0) return false;
  s.progress.progress_monitor = [](j_common_ptr common) {
    const auto* info = reinterpret_cast<j_decompress_ptr>(common);
    if (info->input_scan_number > kMaxScans) {
      auto* session = static_cast<JpegSession*>(common->client_data);
      std::snprintf(session->message, sizeof session->message, "more than %d scans", kMaxScans);
      std::longjmp(session->jump, 1);
    }
  };
  s.info.progress = &s.progress;
  const bool four = s.info.jpeg_color_space == JCS_CMYK || s.info.jpeg_color_space == JCS_YCCK;
  s.info.out_color_space = four ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&s.info);
  return true;
}

/// (a * b) / 255, rounded, for bytes.
int multiply_bytes(int a, int b) {
  const int t = a * b + 128;
  return ((t >> 8) + t) >> 8;
}

/// Stored inverted (255 = no ink), as every program since Adobe's writes it: the light that ink and black let through.
void convert_cmyk(const uint8_t* in, uint8_t* out, size_t pixels) {
  for (size_t i = 0; i < pixels; ++i, in += 4, out += 3) {
    const int light = in[3];
    for (int c = 0; c < 3; ++c) out[c] = static_cast<uint8_t>(light - multiply_bytes(255 - in[c], light));
  }
}

bool read_rows(JpegSession& s, uint8_t* out) {
  if (setjmp(s.jump) != 0) return false;
  const size_t stride = size_t{s.info.output_width} * 3;
  const bool cmyk = s.info.out_color_space == JCS_CMYK;
  while (s.info.output_scanline < s.info.output_height) {
    uint8_t* target = out + s.info.output_scanline * stride;
    JSAMPROW row = cmyk ? s.cmyk_row.data() : target;
    if (jpeg_read_scanlines(&s.info, &row, 1) != 1) return false;
    if (cmyk) convert_cmyk(row, target, s.info.output_width);
  }
  jpeg_finish_decompress(&s.info);
  return true;
}

}  // namespace

void decode_jpeg(std::span<const uint8_t> bytes, Image& out, const DecodeLimits& limits) {
  JpegSession s;
  if (!read_header(s, bytes)) s.report();
  check_dimensions(s.info.image_width, s.info.image_height, limits);
  const uint64_t pixels = uint64_t{s.info.image_width} * s.info.image_height;
  if (pixels > kSmallImage && pixels / kMaxPixelsPerByte > bytes.size()) {
    fail("JPEG", fmt::format("data for {} x {} pixels", s.info.image_width, s.info.image_height), fmt::format("{} bytes", bytes.size()),
         "The file is truncated or its header damaged");
  }
  if (!start(s)) s.report();
  out.width = static_cast<int>(s.info.output_width);
  out.height = static_cast<int>(s.info.output_height);
  out.data.resize(pixels * 3);
  if (s.info.out_color_space == JCS_CMYK) s.cmyk_row.resize(size_t{s.info.output_width} * 4);
  if (!read_rows(s, out.data.data()) || s.errors.num_warnings > 0) s.report();
}

ImageInfo inspect_jpeg(std::span<const uint8_t> bytes) {
  JpegSession s;
  if (!read_header(s, bytes)) s.report();
  ImageInfo info;
  info.width = static_cast<int>(s.info.image_width);
  info.height = static_cast<int>(s.info.image_height);
  info.channels = s.info.num_components;
  info.bits = s.info.data_precision;
  return info;
}

}  // namespace dinoxx::detail
