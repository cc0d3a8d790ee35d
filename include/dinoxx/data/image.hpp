#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace dinoxx {

/// 8-bit RGB, rows top to bottom, pixels interleaved: data[(y * width + x) * 3 + c].
struct Image {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> data;
};

enum class Codec : uint8_t { kJpeg = 0, kPng = 1 };

struct DecodeLimits {
  int64_t max_pixels = int64_t{1} << 28;  ///< larger images are refused before memory is taken
};

/// Decodes to RGB like Pillow's Image.open(..).convert("RGB"): gray is replicated, palette expanded, alpha dropped, CMYK/YCCK JPEG (Adobe inverted too)
/// converted, 16-bit PNG reduced to 8. Truncated or corrupt data (also libjpeg warnings) is an Error that says what is wrong. Reuses out's memory.
void decode_image(std::span<const uint8_t> bytes, Image& out, const DecodeLimits& limits = {});

/// From the first bytes; Error when neither JPEG nor PNG.
Codec detect_codec(std::span<const uint8_t> bytes);

/// Lossless PNG of an RGB image.
std::vector<uint8_t> encode_png(const Image& image);

}  // namespace dinoxx
