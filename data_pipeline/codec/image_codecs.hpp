#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "dinoxx/data_pipeline/image.hpp"

// What decode_image is made of: one decoder per codec, without the EXIF orientation.
namespace dinoxx::detail {

void decode_jpeg(std::span<const uint8_t> bytes, Image& out, const DecodeLimits& limits);
void decode_png(std::span<const uint8_t> bytes, Image& out, const DecodeLimits& limits);
ImageInfo inspect_jpeg(std::span<const uint8_t> bytes);
ImageInfo inspect_png(std::span<const uint8_t> bytes);

/// Error when the image is empty or has more pixels than allowed.
void check_dimensions(uint64_t width, uint64_t height, const DecodeLimits& limits);

/// The Orientation tag (0x0112) of a TIFF structure, 1 when absent or damaged: metadata never makes an image bad.
int tiff_orientation(std::span<const uint8_t> tiff);
/// Of the first Exif APP1 segment of a JPEG file, or the eXIf chunk of a PNG file.
int exif_orientation(std::span<const uint8_t> file, Codec codec);
/// Turns and mirrors in place as EXIF orientation 1 to 8 asks.
void apply_orientation(Image& image, int orientation);

}  // namespace dinoxx::detail
