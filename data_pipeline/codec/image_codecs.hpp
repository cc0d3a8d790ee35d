#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "dinoxx/base/error.hpp"
#include "dinoxx/data_pipeline/image.hpp"

// What decode_image is made of: one decoder per codec, without the orientation.
namespace dinoxx::detail {

/// Errors and faults as decode_image has them.
void decode_jpeg(std::span<const uint8_t> bytes, Image& out, const DecodeLimits& limits, DecodeNotes& notes);
void decode_png(std::span<const uint8_t> bytes, Image& out, const DecodeLimits& limits, DecodeNotes& notes);
ImageInfo inspect_jpeg(std::span<const uint8_t> bytes);
ImageInfo inspect_png(std::span<const uint8_t> bytes);

/// A sound file of a kind that is not read.
class UnsupportedImage : public Error {
 public:
  using Error::Error;
};
/// Throws it; `found` in the decoder's words.
[[noreturn]] void fail_unsupported(std::string_view codec, std::string_view found, std::string_view advice);

/// Error when the image is empty or has more pixels than allowed.
void check_dimensions(uint64_t width, uint64_t height, const DecodeLimits& limits);

/// 1 to 8: the Orientation tag (0x0112) of the Exif segment of a JPEG file, or of the eXIf chunk or ImageMagick's "Raw profile type exif"
/// of a PNG file; where that is absent the tiff:Orientation of an XMP packet. 1 when there is none: metadata never makes an image bad.
int orientation_of(std::span<const uint8_t> file, Codec codec);
/// Turns and mirrors in place as orientation 1 to 8 asks.
void apply_orientation(Image& image, int orientation);

}  // namespace dinoxx::detail
