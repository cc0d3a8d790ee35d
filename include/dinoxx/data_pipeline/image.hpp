#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dinoxx {

/// 8-bit RGB, rows top to bottom, pixels interleaved: data[(y * width + x) * 3 + c].
struct Image {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> data;
};

/// How an image is stored.
enum class Codec : uint8_t { kJpeg = 0, kPng = 1 };
/// "jpeg" or "png".
std::string_view codec_name(Codec codec);

/// Which files with faults decode_image takes.
enum class Tolerance : uint8_t {
  kStrict,   ///< none: whatever libjpeg or libpng warns of is damage
  kPixels,   ///< those whose pixels are all there: bytes that mean nothing, header fields out of range, a missing end
  kLenient,  ///< also those that lost a part of their pixels: what is left, the rest gray or black
};

/// What decode_image refuses.
struct DecodeLimits {
  int64_t max_pixels = int64_t{1} << 28;  ///< larger images are refused before memory is taken
  Tolerance tolerance = Tolerance::kPixels;
  int used_bits = 16;  ///< of a 16-bit PNG, 8 to 16: as 8 bits a sample is min(255, sample >> (used_bits - 8))
};

/// What there is to say of a file that was decoded.
struct DecodeNotes {
  std::vector<std::string> harmless;  ///< faults that cost no pixel, by name, each once
  std::string lost;                   ///< why pixels are missing; empty unless Tolerance::kLenient allows that
  uint16_t peak = 0;                  ///< the largest sample of a 16-bit PNG, 0 for others
};

/// Decodes to RGB like Pillow's ImageOps.exif_transpose(Image.open(..)).convert("RGB"): gray is replicated, palette expanded, alpha
/// dropped, CMYK and YCCK JPEG (stored inverted, as Adobe does) converted, and the orientation of EXIF or XMP applied. 16-bit PNG is
/// reduced to its high bytes (limits.used_bits), where Pillow clips 16-bit gray at 255. Lost pixels are an Error that says what is wrong
/// (limits.tolerance: or any fault, or none); `notes`, when given, tells of the others. Reuses out's memory; out is unspecified after an
/// Error. Thread-safe.
void decode_image(std::span<const uint8_t> bytes, Image& out, const DecodeLimits& limits = {}, DecodeNotes* notes = nullptr);

/// What a file's header says.
struct ImageInfo {
  Codec codec = Codec::kJpeg;
  int width = 0, height = 0;  ///< as decode_image gives them: after the orientation
  int channels = 0;           ///< as stored: 1 gray or palette, 2 gray + alpha, 3 colour, 4 colour + alpha or CMYK
  int bits = 8;               ///< per channel as stored
  int orientation = 1;        ///< of EXIF or XMP, 1 to 8
  bool palette = false;       ///< the one channel is an index
};
/// Reads the header only; Error when it is not a JPEG or PNG header.
ImageInfo inspect_image(std::span<const uint8_t> bytes);

/// From the first bytes; Error when neither JPEG nor PNG (names the format when it is a known one).
Codec detect_codec(std::span<const uint8_t> bytes);

/// Lossless PNG of an RGB image. Equal input gives equal bytes (with an equal zlib).
std::vector<uint8_t> encode_png(const Image& image);

/// Lossless 8-bit gray PNG of `pixels`, [height, width]: the form of foreground masks.
std::vector<uint8_t> encode_gray_png(std::span<const uint8_t> pixels, int width, int height);

}  // namespace dinoxx
