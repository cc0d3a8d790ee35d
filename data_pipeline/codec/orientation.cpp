#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string>
#include <string_view>

#include "image_codecs.hpp"

// Where pictures say how they are to be turned. "Nothing" is 0 here.
namespace dinoxx::detail {
namespace {

constexpr size_t kMaxMetadata = size_t{1} << 20;  // of an inflated text
constexpr std::string_view kExifPrefix("Exif\0\0", 6);
constexpr std::string_view kXmpPrefix("http://ns.adobe.com/xap/1.0/\0", 29);
constexpr std::string_view kXmpKeyword = "XML:com.adobe.xmp";

std::string_view text_of(std::span<const uint8_t> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}
std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
int in_range(uint32_t value) {
  return value >= 1 && value <= 8 ? static_cast<int>(value) : 0;
}

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

/// The Orientation tag of a TIFF structure, with or without "Exif\0\0" before it. Absent, damaged or out of range: nothing.
int tiff_orientation(std::span<const uint8_t> tiff) {
  if (text_of(tiff).starts_with(kExifPrefix)) tiff = tiff.subspan(kExifPrefix.size());
  if (tiff.size() < 8 || !((tiff[0] == 'I' && tiff[1] == 'I') || (tiff[0] == 'M' && tiff[1] == 'M'))) return 0;
  const TiffReader reader(tiff);
  if (reader.u16(2) != 42) return 0;
  const size_t directory = reader.u32(4);
  if (directory >= tiff.size()) return 0;
  const uint32_t entries = reader.u16(directory);
  for (uint32_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + size_t{i} * 12;
    if (entry + 12 > tiff.size()) break;
    constexpr uint32_t kOrientationTag = 0x0112;
    if (reader.u16(entry) != kOrientationTag) continue;
    switch (reader.u16(entry + 2)) {
      case 1:
        return in_range(tiff[entry + 8]);  // BYTE
      case 3:
        return in_range(reader.u16(entry + 8));  // SHORT, as it should be
      case 4:
        return in_range(reader.u32(entry + 8));  // LONG
      default:
        return 0;
    }
  }
  return 0;
}

/// tiff:Orientation="6" or <tiff:Orientation>6</tiff:Orientation> of an XMP packet.
int xmp_orientation(std::string_view xmp) {
  constexpr std::string_view kName = "tiff:Orientation";
  for (size_t at = xmp.find(kName); at != std::string_view::npos; at = xmp.find(kName, at)) {
    at += kName.size();
    const size_t value = xmp.find_first_not_of(" \t\r\n=\"'>", at);
    if (value == at || value == std::string_view::npos) continue;
    uint32_t number = 0;
    const auto result = std::from_chars(xmp.data() + value, xmp.data() + xmp.size(), number);
    if (result.ec == std::errc() && in_range(number) != 0) return static_cast<int>(number);
  }
  return 0;
}

int jpeg_orientation(std::span<const uint8_t> file) {
  int exif = 0, xmp = 0;
  for (size_t at = 2; at + 4 <= file.size();) {  // after SOI
    const uint8_t marker = file[at + 1];
    if (file[at] != 0xFF || marker == 0xFF || marker == 0) {  // bytes that mean nothing, as libjpeg skips them
      ++at;
      continue;
    }
    if (marker == 0xDA || marker == 0xD9) break;  // image data: metadata comes before it
    const size_t length = size_t{file[at + 2]} << 8 | file[at + 3];
    if (length < 2 || at + 2 + length > file.size()) break;
    const auto segment = file.subspan(at + 4, length - 2);
    if (marker == 0xE1 && exif == 0 && text_of(segment).starts_with(kExifPrefix)) exif = tiff_orientation(segment);
    if (marker == 0xE1 && xmp == 0 && text_of(segment).starts_with(kXmpPrefix))
      xmp = xmp_orientation(text_of(segment).substr(kXmpPrefix.size()));
    at += 2 + length;
  }
  return exif != 0 ? exif : xmp;
}

/// At most kMaxMetadata of what a zlib stream holds; what comes before damage.
std::string inflated(std::string_view packed) {
  z_stream stream{};
  std::string text;
  if (inflateInit(&stream) != Z_OK) return text;
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  char part[4096];
  int state = Z_OK;
  while (state == Z_OK && text.size() < kMaxMetadata) {
    stream.next_out = reinterpret_cast<Bytef*>(part);
    stream.avail_out = sizeof part;
    state = inflate(&stream, Z_NO_FLUSH);
    text.append(part, sizeof part - stream.avail_out);
    if (stream.avail_out == sizeof part) break;
  }
  inflateEnd(&stream);
  return text;
}

/// A text chunk of a PNG file whose keyword is asked for; empty otherwise.
std::string png_text(std::string_view type, std::string_view chunk, std::string_view& keyword) {
  const size_t end = chunk.find('\0');
  keyword = chunk.substr(0, end);
  if (end == std::string_view::npos || (keyword != kXmpKeyword && keyword != "Raw profile type exif" && keyword != "Raw profile type APP1"))
    return {};
  chunk.remove_prefix(end + 1);
  if (type == "tEXt") return std::string(chunk);
  if (type == "zTXt") return chunk.empty() ? std::string() : inflated(chunk.substr(1));  // after the method
  if (chunk.size() < 2) return {};                                                       // iTXt: flag, method, language, translated keyword
  const bool packed = chunk[0] != 0;
  chunk.remove_prefix(2);
  for (int i = 0; i < 2; ++i) {
    const size_t stop = chunk.find('\0');
    if (stop == std::string_view::npos) return {};
    chunk.remove_prefix(stop + 1);
  }
  return packed ? inflated(chunk) : std::string(chunk);
}

/// ImageMagick's form: a line break, the profile's name, its length, and the bytes in hexadecimal.
std::string raw_profile(std::string_view text) {
  std::string bytes;
  for (int line = 0; line < 3; ++line) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return bytes;
    text.remove_prefix(end + 1);
  }
  int high = -1;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) continue;
    if (high < 0)
      high = digit;
    else
      bytes.push_back(static_cast<char>(high * 16 + digit)), high = -1;
  }
  return bytes;
}

int png_orientation(std::span<const uint8_t> file) {
  int exif = 0, raw = 0, xmp = 0;
  const auto big_u32 = [&](size_t at) {
    return uint32_t{file[at]} << 24 | uint32_t{file[at + 1]} << 16 | uint32_t{file[at + 2]} << 8 | file[at + 3];
  };
  for (size_t at = 8; at + 12 <= file.size();) {  // after the signature
    const size_t length = big_u32(at);
    if (length > file.size() - at - 12) break;
    const std::string_view type = text_of(file.subspan(at + 4, 4)), chunk = text_of(file.subspan(at + 8, length));
    const bool exif_chunk = type == "eXIf", text_chunk = type == "tEXt" || type == "zTXt" || type == "iTXt";
    // A damaged chunk says nothing
    if ((exif_chunk || text_chunk) && crc32(0, file.data() + at + 4, static_cast<uInt>(length + 4)) == big_u32(at + 8 + length)) {
      std::string_view keyword;
      const std::string text = text_chunk ? png_text(type, chunk, keyword) : std::string();
      if (exif_chunk && exif == 0)
        exif = tiff_orientation(bytes_of(chunk));
      else if (keyword == kXmpKeyword && xmp == 0)
        xmp = xmp_orientation(text);
      else if (!text.empty() && raw == 0)
        raw = tiff_orientation(bytes_of(raw_profile(text)));
    }
    at += 12 + length;
  }
  return exif != 0 ? exif : raw != 0 ? raw : xmp;
}

}  // namespace

int orientation_of(std::span<const uint8_t> file, Codec codec) {
  const int found = codec == Codec::kJpeg ? jpeg_orientation(file) : png_orientation(file);
  return found == 0 ? 1 : found;
}

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
