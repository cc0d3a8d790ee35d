#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "dinoxx/data_pipeline/image.hpp"

namespace dinoxx {

/// A number for each pixel: which object it belongs to, 0 = background. Rows top to bottom.
struct LabelImage {
  int width = 0, height = 0;
  std::vector<uint8_t> data;  ///< [height, width]
};

/// The numbers as stored in a PNG with a palette (the form of DAVIS and PASCAL VOC: the colours are not looked at) or of gray with at most
/// 8 bits. Error for anything else, and for damaged files as decode_image.
LabelImage decode_label_png(std::span<const uint8_t> bytes, const DecodeLimits& limits = {});

/// The same back, with the palette of PASCAL VOC (colour i: the bits of i dealt in turn to red, green and blue, from the highest down), so
/// that viewers show objects in colours and other evaluators read their numbers.
std::vector<uint8_t> encode_label_png(const LabelImage& labels);

}  // namespace dinoxx
