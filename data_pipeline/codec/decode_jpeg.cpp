#include <fmt/format.h>
#include <jpeglib.h>

#include <jerror.h>

#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "dinoxx/base/error.hpp"
#include "image_codecs.hpp"

namespace dinoxx::detail {
namespace {

// A scan costs a pass over the whole image: hundreds of empty scans are an attack, not a picture.
constexpr int kMaxScans = 200;
// A block of 64 pixels takes at least a bit in Huffman coding. More pixels than that in so few bytes is a damaged header, and would cost
// its memory first.
constexpr uint64_t kMaxPixelsPerByte = 4096;
constexpr uint64_t kSmallImage = uint64_t{1} << 22;
constexpr uint8_t kMissing = 128;  // what libjpeg, too, puts where data is missing
constexpr const char* kCut = "Premature end of JPEG file";

/// Faults that cost no pixel. Bits of JpegSession::harmless.
enum Harmless : uint32_t {
  kScanParameters = 1,
  kExtraneous = 2,
  kJfifVersion = 4,
  kAdobeCode = 8,
  kScanOrder = 16,
  kNoEnd = 32,
  kAfterData = 64
};
struct HarmlessName {
  uint32_t bit;
  const char* name;
};
constexpr std::array<HarmlessName, 7> kHarmlessNames = {{{kScanParameters, "invalid SOS parameters"},
                                                         {kExtraneous, "extraneous bytes before a marker"},
                                                         {kJfifVersion, "unknown JFIF version"},
                                                         {kAdobeCode, "unknown Adobe colour code"},
                                                         {kScanOrder, "unusual order of scans"},
                                                         {kNoEnd, "no end marker"},
                                                         {kAfterData, "damage after the last pixel"}}};

/// One decompression. libjpeg reports errors by a function that must not return: it jumps back to the setjmp of the function below that
/// called libjpeg. Exceptions must not cross C frames, so that function holds no objects with destructors and hands the text to its caller.
struct JpegSession {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf jump{};
  char message[JMSG_LENGTH_MAX] = {};  ///< of the error, else of the first warning
  char lost[JMSG_LENGTH_MAX] = {};     ///< the first warning that means lost pixels
  uint32_t harmless = 0;
  unsigned sound_rows = 0;  ///< before the first loss; 0 when not known
  bool header_read = false;
  bool cut = false;        ///< the end marker is missing, and perhaps more
  bool doubtful = false;   ///< bytes that no block took
  bool something = false;  ///< with losses: a part of the picture is there
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
      session->take_warning();
    };
    info.client_data = this;
  }
  ~JpegSession() { jpeg_destroy_decompress(&info); }
  JpegSession(const JpegSession&) = delete;
  JpegSession& operator=(const JpegSession&) = delete;

  /// What a warning means for the pixels; called from inside libjpeg.
  void take_warning() {
    switch (errors.msg_code) {
      case JWRN_NOT_SEQUENTIAL:
        harmless |= kScanParameters;
        return;
      case JWRN_JFIF_MAJOR:
        harmless |= kJfifVersion;
        return;
      case JWRN_ADOBE_XFORM:
        harmless |= kAdobeCode;
        return;
      case JWRN_JPEG_EOF:
        cut = true;
        return;  // decided at the end: perhaps only the end marker is missing
      case JWRN_EXTRANEOUS_DATA:
        harmless |= kExtraneous;
        doubtful = doubtful || header_read;
        return;
      case JWRN_BOGUS_PROGRESSION:
        if (info.Ss == 0 || errors.msg_parm.i[1] != 0) break;
        harmless |= kScanOrder;  // AC before DC: all of it may come still
        return;
      default:
        break;
    }
    char text[JMSG_LENGTH_MAX];
    info.err->format_message(reinterpret_cast<j_common_ptr>(&info), text);
    lose(text, info.output_scanline, info.output_scanline > 0 || info.input_scan_number > 1);
  }
  void lose(const char* why, unsigned rows, bool some) {
    if (lost[0] != '\0') return;
    std::snprintf(lost, sizeof lost, "%s", why);
    sound_rows = rows;
    something = some;
  }

  [[noreturn]] static void report(const char* text) {
    fail("JPEG", "an undamaged file", fmt::format("\"{}\"", text), "Repair or remove it");
  }
  /// Of the error by which libjpeg ended.
  [[noreturn]] void report() const {
    for (const int code : {JERR_BAD_PRECISION, JERR_SOF_UNSUPPORTED, JERR_ARITH_NOTIMPL, JERR_CONVERSION_NOTIMPL, JERR_NOT_COMPILED}) {
      if (errors.msg_code == code) fail_unsupported("JPEG", message, "Save it again as an ordinary JPEG of 8 bits, or as PNG");
    }
    report(message);
  }
};

bool read_header(JpegSession& s, std::span<const uint8_t> bytes) {
  if (setjmp(s.jump) != 0) return false;
  jpeg_create_decompress(&s.info);
  s.info.client_data = &s;  // create clears all but the error manager in some versions
  s.progress.progress_monitor = [](j_common_ptr common) {
    const auto* info = reinterpret_cast<j_decompress_ptr>(common);
    if (info->input_scan_number > kMaxScans) {
      auto* session = static_cast<JpegSession*>(common->client_data);
      std::snprintf(session->message, sizeof session->message, "more than %d scans", kMaxScans);
      std::longjmp(session->jump, 1);
    }
  };
  s.info.progress = &s.progress;
  jpeg_mem_src(&s.info, bytes.data(), static_cast<unsigned long>(bytes.size()));
  jpeg_read_header(&s.info, TRUE);
  s.header_read = true;
  return true;
}

bool start(JpegSession& s) {
  if (setjmp(s.jump) != 0) return false;
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

bool has_all_channels(const jpeg_decompress_struct& info) {
  for (int c = 0; c < info.num_components; ++c) {
    if (info.comp_info[c].quant_table == nullptr) return false;  // set by the first scan of the channel
  }
  return true;
}

/// Whether a file without an end marker can have had no more data. Arithmetic coding reads zeros past the end, as it may.
bool has_all_scans(const jpeg_decompress_struct& info) {
  if (info.arith_code != FALSE) return false;
  for (int c = 0; info.coef_bits != nullptr && c < info.num_components; ++c) {
    for (const int missing : info.coef_bits[c]) {
      if (missing != 0) return false;
    }
  }
  return true;
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
  return true;
}

/// Up to the end marker. All pixels are there already, so that an error means nothing for them.
bool read_end(JpegSession& s) {
  if (setjmp(s.jump) != 0) return false;
  jpeg_finish_decompress(&s.info);
  return true;
}

/// Whether all coefficients are of the size that 8-bit pixels can give.
bool possible_coefficients(JpegSession& s) {
  if (setjmp(s.jump) != 0) return false;
  jvirt_barray_ptr* const arrays = jpeg_read_coefficients(&s.info);
  for (int c = 0; c < s.info.num_components; ++c) {
    const jpeg_component_info& component = s.info.comp_info[c];
    if (component.quant_table == nullptr) return false;
    for (JDIMENSION y = 0; y < component.height_in_blocks; ++y) {
      const JBLOCKARRAY row = s.info.mem->access_virt_barray(reinterpret_cast<j_common_ptr>(&s.info), arrays[c], y, 1, FALSE);
      for (JDIMENSION x = 0; x < component.width_in_blocks; ++x) {
        for (int k = 0; k < DCTSIZE2; ++k) {
          const int step = component.quant_table->quantval[k];
          if (std::abs(int{row[0][x][k]}) * step > 8 * 128 + step) return false;
        }
      }
    }
  }
  return true;
}

/// Bytes that no block took: padding that means nothing, or what is left over when a damaged block was read wrongly. Wrong blocks show
/// before long by values that no picture has, because each counts on from the last.
bool plausible(std::span<const uint8_t> bytes) {
  JpegSession s;
  return read_header(s, bytes) && possible_coefficients(s);
}

}  // namespace

void decode_jpeg(std::span<const uint8_t> bytes, Image& out, const DecodeLimits& limits, DecodeNotes& notes) {
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
  if (!read_rows(s, out.data.data())) {
    const unsigned rows = s.info.output_scanline;
    s.lose(s.message, rows, rows > 0);
    std::fill(out.data.begin() + static_cast<std::ptrdiff_t>(rows * size_t{s.info.output_width} * 3), out.data.end(), kMissing);
  } else {
    if (!has_all_channels(s.info)) s.lose("no data for one of the colour channels", 0, true);
    const bool whole = has_all_scans(s.info);
    if (!read_end(s)) s.harmless |= kAfterData;
    if (s.cut && whole) s.harmless |= kNoEnd;
    if (s.cut && !whole) s.lose(kCut, 0, true);
    if (s.doubtful && s.lost[0] == '\0' && !plausible(bytes)) s.lose("extraneous bytes, and values that no picture has", 0, true);
  }

  const bool lost = s.lost[0] != '\0';
  const char* why = s.cut ? kCut : s.lost;
  if (lost && !(limits.tolerance == Tolerance::kLenient && s.something)) s.report(why);
  if (limits.tolerance == Tolerance::kStrict && (s.errors.num_warnings > 0 || s.harmless != 0)) s.report();
  if (lost) notes.lost = s.sound_rows > 0 ? fmt::format("{}, after {} of {} rows", why, s.sound_rows, out.height) : why;
  for (const HarmlessName& one : kHarmlessNames) {
    if ((s.harmless & one.bit) != 0) notes.harmless.emplace_back(one.name);
  }
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
