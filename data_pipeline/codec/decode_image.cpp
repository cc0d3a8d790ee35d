#include <fmt/format.h>

#include <array>
#include <cstring>

#include "dinoxx/base/error.hpp"
#include "image_codecs.hpp"

namespace dinoxx {
namespace {

struct Magic {
  std::string_view bytes;
  size_t at;
  std::string_view name;
};

bool matches(std::span<const uint8_t> data, const Magic& magic) {
  return data.size() >= magic.at + magic.bytes.size() && std::memcmp(data.data() + magic.at, magic.bytes.data(), magic.bytes.size()) == 0;
}

constexpr Magic kJpegMagic{"\xFF\xD8\xFF", 0, "JPEG"};
constexpr Magic kPngMagic{"\x89PNG\r\n\x1A\n", 0, "PNG"};
// named in the message only
constexpr std::string_view kPage = "HTML or XML", kPointer = "a pointer of Git LFS";
constexpr std::array<Magic, 10> kOtherFormats = {{{"GIF8", 0, "GIF"},
                                                  {"BM", 0, "BMP"},
                                                  {"II*\0", 0, "TIFF"},
                                                  {{"MM\0*", 4}, 0, "TIFF"},
                                                  {"WEBP", 8, "WebP"},
                                                  {"ftypavif", 4, "AVIF"},
                                                  {"ftypheic", 4, "HEIC"},
                                                  {"%PDF", 0, "PDF"},
                                                  {"version https://git-lfs", 0, kPointer},
                                                  {"<", 0, kPage}}};

}  // namespace

std::string_view codec_name(Codec codec) {
  return codec == Codec::kJpeg ? "jpeg" : "png";
}

Codec detect_codec(std::span<const uint8_t> bytes) {
  if (matches(bytes, kJpegMagic)) return Codec::kJpeg;
  if (matches(bytes, kPngMagic)) return Codec::kPng;
  std::string found = bytes.empty() ? "an empty file" : "bytes of no known image format";
  for (const Magic& magic : kOtherFormats) {
    if (matches(bytes, magic)) {
      found = std::string(magic.name);
      break;
    }
  }
  std::string advice = bytes.empty() ? "" : "Convert it to JPEG or PNG";
  if (found == kPage) advice = "Get the image again: this may be the page of an error";
  if (found == kPointer) advice = "Get the files themselves: git lfs pull";
  fail("image", "JPEG or PNG", found, advice);
}

namespace detail {

void fail_unsupported(std::string_view codec, std::string_view found, std::string_view advice) {
  try {
    fail(codec, "a kind that can be read", fmt::format("\"{}\"", found), advice);
  } catch (const Error& error) {
    throw UnsupportedImage(error.what());
  }
}

void check_dimensions(uint64_t width, uint64_t height, const DecodeLimits& limits) {
  if (width == 0 || height == 0) fail("image", "a width and a height", fmt::format("{} x {}", width, height), "The header is damaged");
  const auto most = static_cast<uint64_t>(limits.max_pixels);
  if (width > most / height) {
    fail("image", fmt::format("at most {} pixels", limits.max_pixels), fmt::format("{} x {}", width, height), "Scale it down first");
  }
}

}  // namespace detail

void decode_image(std::span<const uint8_t> bytes, Image& out, const DecodeLimits& limits, DecodeNotes* notes) {
  const Codec codec = detect_codec(bytes);
  DecodeNotes found;
  if (codec == Codec::kJpeg) {
    detail::decode_jpeg(bytes, out, limits, found);
  } else {
    detail::decode_png(bytes, out, limits, found);
  }
  detail::apply_orientation(out, detail::orientation_of(bytes, codec));
  if (notes != nullptr) *notes = std::move(found);
}

ImageInfo inspect_image(std::span<const uint8_t> bytes) {
  const Codec codec = detect_codec(bytes);
  ImageInfo info = codec == Codec::kJpeg ? detail::inspect_jpeg(bytes) : detail::inspect_png(bytes);
  info.codec = codec;
  info.orientation = detail::orientation_of(bytes, codec);
  if (info.orientation >= 5) std::swap(info.width, info.height);
  return info;
}

}  // namespace dinoxx
