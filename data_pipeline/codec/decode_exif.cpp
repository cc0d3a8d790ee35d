#include <algorithm>
#include <cstring>

#include "image_codecs.hpp"

namespace dinoxx::detail {
namespace {

/// Numbers of either byte order inside a span; reads outside give 0.
class TiffReader {
 public:
  explicit TiffReader(std::span<const uint8_t> data) : data_(data), big_(!data.empty() && data[0] == 'M') {}
  uint32_t u16(size_t at) const {
    if (at + 2 > data_.size()) return 0;
    return big_ ? (uint32_t{data_[at]} << 8 | data_[at + 1]) : (uint32_t{data_[at + 1]} << 8 | data_[at]);
  }
  uint32_t u32(size_t at) const { return big_ ? (u16(at) << 16 | u16(at + 2)) : (u16(at + 2) << 16 | u16(at)); }

 private:
  std::span<const uint8_t> data_;
  bool big_;
};

uint32_t big_u32(std::span<const uint8_t> data, size_t at) {
  return uint32_t{data[at]} << 24 | uint32_t{data[at + 1]} << 16 | uint32_t{data[at + 2]} << 8 | data[at + 3];
}

int jpeg_orientation(std::span<const uint8_t> file) {
  size_t at = 2;  // after SOI
  while (at + 4 <= file.size() && file[at] == 0xFF) {
    const uint8_t marker = file[at + 1];
    if (marker == 0xFF) {  // fill byte
      ++at;
      continue;
    }
    if (marker == 0xDA || marker == 0xD9) break;  // image data: EXIF comes before it
    const size_t length = size_t{file[at + 2]} << 8 | file[at + 3];
    if (length < 2 || at + 2 + length > file.size()) break;
    const auto segment = file.subspan(at + 4, length - 2);
    if (marker == 0xE1 && segment.size() > 6 && std::memcmp(segment.data(), "Exif\0\0", 6) == 0) return tiff_orientation(segment.subspan(6));
    at += 2 + length;
  }
  return 1;
}

int png_orientation(std::span<const uint8_t> file) {
  size_t at = 8;  // after the signature
  while (at + 12 <= file.size()) {
    const size_t length = big_u32(file, at);
    if (length > file.size() - at - 12) break;
    if (std::memcmp(file.data() + at + 4, "eXIf", 4) == 0) return tiff_orientation(file.subspan(at + 8, length));
    at += 12 + length;
  }
  return 1;
}

}  // namespace

int tiff_orientation(std::span<const uint8_t> tiff) {
  if (tiff.size() < 8 || !((tiff[0] == 'I' && tiff[1] == 'I') || (tiff[0] == 'M' && tiff[1] == 'M'))) return 1;
  const TiffReader reader(tiff);
  if (reader.u16(2) != 42) return 1;
  const size_t directory = reader.u32(4);
  if (directory >= tiff.size()) return 1;
  const uint32_t entries = reader.u16(directory);
  for (uint32_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + size_t{i} * 12;
    if (entry + 12 > tiff.size()) break;
    constexpr uint32_t kOrientationTag = 0x0112, kShort = 3;
    if (reader.u16(entry) == kOrientationTag && reader.u16(entry + 2) == kShort) {
      const auto value = static_cast<int>(reader.u16(entry + 8));
      return value >= 1 && value <= 8 ? value : 1;
    }
  }
  return 1;
}

int exif_orientation(std::span<const uint8_t> file, Codec codec) { return codec == Codec::kJpeg ? jpeg_orientation(file) : png_orientation(file); }

void apply_orientation(Image& image, int orientation) {
  if (orientation <= 1 || orientation > 8) return;
  const int w = image.width, h = image.height;
  const bool swapped = orientation >= 5;
  Image turned;
  turned.width = swapped ? h : w;
  turned.height = swapped ? w : h;
  turned.data.resize(image.data.size());
  for (int y = 0; y < turned.height; ++y) {
    for (int x = 0; x < turned.width; ++x) {
      int sx = swapped ? y : x, sy = swapped ? x : y;  // 1 and 5: as stored, and mirrored on the main diagonal
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) sx = w - 1 - sx;
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) sy = h - 1 - sy;
      const size_t from = (static_cast<size_t>(sy) * static_cast<size_t>(w) + static_cast<size_t>(sx)) * 3;
      const size_t to = (static_cast<size_t>(y) * static_cast<size_t>(turned.width) + static_cast<size_t>(x)) * 3;
      std::copy_n(image.data.begin() + static_cast<std::ptrdiff_t>(from), 3, turned.data.begin() + static_cast<std::ptrdiff_t>(to));
    }
  }
  image = std::move(turned);
}

}  // namespace dinoxx::detail
