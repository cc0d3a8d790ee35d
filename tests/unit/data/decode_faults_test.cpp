#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <jpeglib.h>
#include <stdio.h>  // of jpeglib.h

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "dinoxx/base/error.hpp"
#include "dinoxx/data_pipeline/image.hpp"
#include "support/image_files.hpp"
#include "support/png_parts.hpp"

// Files with faults: what costs no pixel is taken and named, what loses pixels is refused; the strict and the lenient end.
namespace dinoxx {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing_support::chunk;
using testing_support::deep_png;
using testing_support::deflated;
using testing_support::golden_file;

using Bytes = std::vector<uint8_t>;

Image decoded(const Bytes& bytes) {
  Image image;
  decode_image(bytes, image);
  return image;
}

struct Outcome {
  std::string refused;  ///< empty = taken
  DecodeNotes faults;
  Image image;
};

Outcome outcome(std::span<const uint8_t> bytes, Tolerance tolerance) {
  Outcome result;
  DecodeLimits limits;
  limits.tolerance = tolerance;
  try {
    decode_image(bytes, result.image, limits, &result.faults);
  } catch (const Error& error) {
    result.refused = error.what();
  }
  return result;
}

Bytes inserted(Bytes bytes, size_t at, const Bytes& more) {
  bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), more.begin(), more.end());
  return bytes;
}

/// Where the first segment `code` of a JPEG's header begins.
size_t segment(const Bytes& bytes, uint8_t code) {
  for (size_t at = 2; at + 4 <= bytes.size(); at += 2 + (size_t{bytes[at + 2]} << 8 | bytes[at + 3])) {
    if (bytes[at + 1] == code) return at;
  }
  return bytes.size();
}

/// A picture with enough data for damage to show, 96 x 64.
Image large_picture() {
  Image image{96, 64, Bytes(3 * 96 * 64)};
  for (size_t i = 0; i < image.data.size(); ++i) {
    const size_t x = i / 3 % 96, y = i / 3 / 96;
    image.data[i] = static_cast<uint8_t>(128 + 60 * std::sin(static_cast<double>(x * (1 + i % 3)) / 9) +
                                         50 * std::cos(static_cast<double>(y * x) / 200));
  }
  return image;
}

Bytes large_jpeg() {
  Image image = large_picture();
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = 96;
  info.image_height = 64;
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 92, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = image.data.data() + size_t{info.next_scanline} * 96 * 3;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  const Bytes bytes(buffer, buffer + size);
  std::free(buffer);
  return bytes;
}

void expect_harmless(const Bytes& faulty, const Image& sound, const std::string& fault) {
  const Outcome found = outcome(faulty, Tolerance::kPixels);
  EXPECT_EQ(found.refused, "");
  EXPECT_EQ(found.image.data, sound.data) << fault;
  EXPECT_THAT(found.faults.harmless, ElementsAre(fault));
  EXPECT_EQ(found.faults.lost, "");
  EXPECT_THAT(outcome(faulty, Tolerance::kStrict).refused, HasSubstr("an undamaged file")) << fault;
  EXPECT_EQ(outcome(faulty, Tolerance::kLenient).image.data, sound.data) << fault;
}

TEST(DecodeFaults, JpegFaultsThatCostNoPixelAreNamed) {
  for (const char* kind : {"jpeg_420", "jpeg_gray", "jpeg_cmyk"}) {
    const Bytes sound = golden_file(kind);
    const Image pixels = decoded(sound);
    const size_t scan = segment(sound, 0xDA);
    ASSERT_LT(scan, sound.size());
    const size_t spectral = scan + 5 + 2 * sound[scan + 4];  // Ss, Se, AhAl
    Bytes faulty = sound;
    faulty[spectral + 1] = 0;  // as the front cameras of some phones write it
    expect_harmless(faulty, pixels, "invalid SOS parameters");
    expect_harmless(inserted(sound, segment(sound, 0xDB), Bytes(5, 0)), pixels, "extraneous bytes before a marker");
    expect_harmless(inserted(sound, scan, {1, 2, 3}), pixels, "extraneous bytes before a marker");
    expect_harmless(inserted(sound, sound.size() - 2, Bytes(40, 0)), pixels, "extraneous bytes before a marker");
    expect_harmless(inserted(sound, sound.size() - 2, Bytes(40, 0x5A)), pixels, "extraneous bytes before a marker");
    expect_harmless(Bytes(sound.begin(), sound.end() - 2), pixels, "no end marker");
    expect_harmless(Bytes(sound.begin(), sound.end() - 1), pixels, "no end marker");
    expect_harmless(inserted(sound, sound.size() - 2, {0xFF, 0xC4, 0x00, 0x03, 0xAA}), pixels, "damage after the last pixel");
  }
  Bytes faulty = golden_file("jpeg_420");
  const Image pixels = decoded(faulty);
  ASSERT_EQ(segment(faulty, 0xE0), 2u);
  faulty[2 + 9] = 2;  // JFIF 2.01
  expect_harmless(faulty, pixels, "unknown JFIF version");
  const Outcome two = outcome(inserted(faulty, faulty.size() - 2, Bytes(40, 0)), Tolerance::kPixels);
  EXPECT_THAT(two.faults.harmless, ElementsAre("extraneous bytes before a marker", "unknown JFIF version"));
}

TEST(DecodeFaults, SoundFilesHaveNone) {
  for (const char* kind : {"jpeg_420", "jpeg_444", "jpeg_progressive", "jpeg_cmyk", "jpeg_exif_6", "png_rgb", "png_interlaced",
                           "png_gray16", "png_palette_transparent", "png_exif_6"}) {
    const Outcome found = outcome(golden_file(kind), Tolerance::kStrict);
    EXPECT_EQ(found.refused, "") << kind;
    EXPECT_THAT(found.faults.harmless, IsEmpty()) << kind;
  }
}

TEST(DecodeFaults, LostPixelsOfAJpegAreRefusedOrKeptByTheLenient) {
  const Bytes sound = large_jpeg();
  const Image pixels = decoded(sound);
  const Bytes cut(sound.begin(), sound.begin() + static_cast<std::ptrdiff_t>(sound.size() / 2));
  EXPECT_THAT(outcome(cut, Tolerance::kPixels).refused, HasSubstr("Premature end of JPEG file"));
  const Outcome kept = outcome(cut, Tolerance::kLenient);
  EXPECT_EQ(kept.refused, "");
  EXPECT_THAT(kept.faults.lost, HasSubstr("Premature end of JPEG file"));
  ASSERT_EQ(kept.image.data.size(), pixels.data.size());
  EXPECT_TRUE(std::equal(pixels.data.begin(), pixels.data.begin() + 3 * 96 * 8, kept.image.data.begin()));  // the first blocks
  EXPECT_NE(kept.image.data, pixels.data);
  // nothing of the picture is there
  const Bytes header(sound.begin(), sound.begin() + static_cast<std::ptrdiff_t>(segment(sound, 0xDA) + 16));
  EXPECT_THAT(outcome(header, Tolerance::kLenient).refused, HasSubstr("Premature end of JPEG file"));
}

/// Bytes are left over where a damaged block was read wrongly, too. Whatever libjpeg says of a flipped bit, pixels that are grossly wrong
/// are not called "extraneous bytes".
TEST(DecodeFaults, LeftOverBytesOfDamagedBlocksAreNotHarmless) {
  const Bytes sound = large_jpeg();
  const size_t data = segment(sound, 0xDA) + 14;
  int doubtful = 0, refused = 0;
  for (size_t at = data; at < sound.size() - 2; at += 3) {
    Bytes damaged = sound;
    damaged[at] ^= 0x10;
    const Outcome found = outcome(damaged, Tolerance::kPixels);
    refused += found.refused.find("values that no picture has") != std::string::npos ? 1 : 0;
    doubtful += !found.faults.harmless.empty() ? 1 : 0;
  }
  EXPECT_GT(refused, doubtful);
}

/// What is cut is refused, or nothing of the picture was lost.
TEST(DecodeFaults, ACutFileIsRefusedOrWhole) {
  for (const char* kind : {"jpeg_420", "jpeg_progressive", "jpeg_gray", "png_rgb", "png_palette", "png_interlaced", "png_gray16"}) {
    const Bytes sound = golden_file(kind);
    const Image pixels = decoded(sound);
    int whole = 0;
    for (size_t size = 0; size < sound.size(); ++size) {
      const Outcome found = outcome(std::span(sound).first(size), Tolerance::kPixels);
      if (!found.refused.empty()) continue;
      ++whole;
      EXPECT_EQ(found.image.data, pixels.data) << kind << " cut to " << size;
      EXPECT_THAT(found.faults.harmless, SizeIs(1)) << kind << " cut to " << size;
    }
    EXPECT_GT(whole, 0) << kind;
    EXPECT_LT(whole, 24) << kind;
  }
}

/// PNG has checksums: no single wrong byte can change a pixel unnoticed.
TEST(DecodeFaults, AWrongByteOfAPngIsRefusedOrChangesNothing) {
  for (const char* kind : {"png_rgb", "png_gray", "png_palette", "png_bilevel", "png_interlaced", "png_rgb16"}) {
    const Bytes sound = golden_file(kind);
    const Image pixels = decoded(sound);
    int taken = 0;
    for (size_t at = 8; at < sound.size(); ++at) {
      for (const uint8_t flip : {0x01, 0x20, 0x80}) {
        Bytes damaged = sound;
        damaged[at] ^= flip;
        const Outcome found = outcome(damaged, Tolerance::kPixels);
        if (!found.refused.empty()) continue;
        ++taken;
        EXPECT_EQ(found.image.data, pixels.data) << kind << ", byte " << at;
        EXPECT_THAT(found.faults.harmless, testing::Not(IsEmpty())) << kind << ", byte " << at;
        EXPECT_THAT(outcome(damaged, Tolerance::kStrict).refused, HasSubstr("an undamaged file")) << kind << ", byte " << at;
      }
    }
    EXPECT_GT(taken, 10) << kind;  // the checksums themselves, and what follows the pixels
  }
}

constexpr size_t kAfterHeader = 8 + 25;  // of a PNG

TEST(DecodeFaults, PngFaultsThatCostNoPixelAreNamed) {
  const Bytes sound = golden_file("png_rgb");
  const Image pixels = decoded(sound);
  Bytes text = chunk("tEXt", std::string("Comment\0hello", 13));
  text.back() ^= 1;
  expect_harmless(inserted(sound, kAfterHeader, text), pixels, "wrong checksum of a part without pixels");
  expect_harmless(inserted(sound, kAfterHeader, chunk("tRNS", "xx")), pixels, "faulty metadata");
  expect_harmless(Bytes(sound.begin(), sound.end() - 12), pixels, "damage after the last pixel");
  Bytes checksum = sound;
  checksum[checksum.size() - 13] ^= 1;  // of IDAT
  expect_harmless(checksum, pixels, "wrong checksum of sound pixels");
}

TEST(DecodeFaults, LostPixelsOfAPngAreKeptByTheLenient) {
  const Image pixels = testing_support::test_image(40, 30, 3);
  Bytes cut = encode_png(pixels);
  cut.resize(cut.size() / 2);
  EXPECT_THAT(outcome(cut, Tolerance::kPixels).refused, HasSubstr("truncated"));
  const Outcome kept = outcome(cut, Tolerance::kLenient);
  EXPECT_EQ(kept.refused, "");
  EXPECT_THAT(kept.faults.lost, HasSubstr("truncated"));
  ASSERT_EQ(kept.image.data.size(), pixels.data.size());
  EXPECT_TRUE(std::equal(pixels.data.begin(), pixels.data.begin() + 3 * 40 * 10, kept.image.data.begin()));
  EXPECT_EQ(kept.image.data.back(), 0);
}

TEST(DeepPng, UsedBitsBecomeTheRange) {
  const Bytes png = deep_png({0, 16, 2048, 4095, 4096, 65535}, 3);
  Image image;
  DecodeNotes notes;
  decode_image(png, image, {}, &notes);
  EXPECT_THAT(image.data, ElementsAre(0, 0, 0, 0, 0, 0, 8, 8, 8, 15, 15, 15, 16, 16, 16, 255, 255, 255));
  EXPECT_EQ(notes.peak, 65535);
  DecodeLimits limits;
  limits.used_bits = 12;
  decode_image(png, image, limits, &notes);
  EXPECT_THAT(image.data, ElementsAre(0, 0, 0, 1, 1, 1, 128, 128, 128, 255, 255, 255, 255, 255, 255, 255, 255, 255));
  limits.used_bits = 8;  // every value but 0 stays one: what masks need
  decode_image(deep_png({0, 1, 255, 256}, 2), image, limits, &notes);
  EXPECT_THAT(image.data, ElementsAre(0, 0, 0, 1, 1, 1, 255, 255, 255, 255, 255, 255));
  decode_image(deep_png({1, 2, 300}, 1, 3), image, {}, &notes);
  EXPECT_EQ(notes.peak, 300);
  decode_image(golden_file("png_rgb"), image, {}, &notes);
  EXPECT_EQ(notes.peak, 0);
}

// ---- orientation

/// A TIFF structure with the Orientation tag alone.
std::string tiff(uint8_t value, uint8_t type) {
  std::string out("II*\0\x08\0\0\0\x01\0\x12\x01", 12);
  out += std::string{static_cast<char>(type), 0, 1, 0, 0, 0, static_cast<char>(value), 0, 0, 0, 0, 0, 0, 0};
  return out;
}

std::string exif(const std::string& structure) {
  return std::string("Exif\0\0", 6) + structure;
}
std::string xmp(const std::string& orientation) {
  return "<x:xmpmeta><rdf:RDF><rdf:Description xmlns:tiff=\"http://ns.adobe.com/tiff/1.0/\" " + orientation +
         "</rdf:Description></rdf:RDF></x:xmpmeta>";
}

Bytes with_segment(const Bytes& jpeg, const std::string& content) {
  const size_t length = content.size() + 2;
  Bytes out{0xFF, 0xE1, static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length)};
  out.insert(out.end(), content.begin(), content.end());
  return inserted(jpeg, 2, out);
}

std::string raw_profile(const std::string& data) {
  std::string text = fmt::format("\nexif\n{:8}\n", data.size());
  for (size_t i = 0; i < data.size(); ++i) {
    text += fmt::format("{:02x}", static_cast<uint8_t>(data[i]));
    if (i % 36 == 35) text += '\n';
  }
  return text + '\n';
}

TEST(Orientation, IsFoundWhereverPillowFindsIt) {
  const std::string nul(1, '\0'), jpeg_xmp = "http://ns.adobe.com/xap/1.0/" + nul;
  const Bytes jpeg = golden_file("jpeg_420"), png = golden_file("png_rgb");
  const auto in_png = [&](const std::string& type, const std::string& data) { return inserted(png, kAfterHeader, chunk(type, data)); };
  struct Case {
    const char* name;
    Bytes file;
  };
  const std::vector<Case> cases = {
      {"Exif of type SHORT", with_segment(jpeg, exif(tiff(6, 3)))},
      {"Exif of type LONG", with_segment(jpeg, exif(tiff(6, 4)))},
      {"Exif behind extraneous bytes", inserted(with_segment(with_segment(jpeg, exif(tiff(6, 3))), "other"), 2 + 4 + 5, {0, 0, 7})},
      {"XMP, as an attribute", with_segment(jpeg, jpeg_xmp + xmp("tiff:Orientation=\"6\">"))},
      {"XMP, as an attribute in other quotes", with_segment(jpeg, jpeg_xmp + xmp("tiff:Orientation = '6'>"))},
      {"XMP, as an element", with_segment(jpeg, jpeg_xmp + xmp("><tiff:Orientation>6</tiff:Orientation>"))},
      {"XMP beside Exif without the tag", with_segment(with_segment(jpeg, jpeg_xmp + xmp("tiff:Orientation=\"6\">")), exif(tiff(0, 3)))},
      {"Exif before XMP that says otherwise",
       with_segment(with_segment(jpeg, jpeg_xmp + xmp("tiff:Orientation=\"3\">")), exif(tiff(6, 3)))},
      {"eXIf", in_png("eXIf", tiff(6, 3))},
      {"eXIf with a prefix", in_png("eXIf", exif(tiff(6, 3)))},
      {"ImageMagick's profile, packed", in_png("zTXt", "Raw profile type exif" + nul + nul + deflated(raw_profile(exif(tiff(6, 3)))))},
      {"ImageMagick's profile, plain", in_png("tEXt", "Raw profile type exif" + nul + raw_profile(exif(tiff(6, 3))))},
      {"ImageMagick's profile, old name", in_png("zTXt", "Raw profile type APP1" + nul + nul + deflated(raw_profile(exif(tiff(6, 3)))))},
      {"XMP in a PNG", in_png("iTXt", "XML:com.adobe.xmp" + std::string(5, '\0') + xmp("tiff:Orientation=\"6\">"))},
      {"packed XMP in a PNG",
       in_png("iTXt", "XML:com.adobe.xmp" + std::string("\0\1\0\0\0", 5) + deflated(xmp("tiff:Orientation=\"6\">")))},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(inspect_image(one.file).orientation, 6) << one.name;
    const Image turned = decoded(one.file), plain = decoded(one.file[0] == 0xFF ? jpeg : png);
    EXPECT_EQ(turned.width, plain.height) << one.name;
  }
  const std::vector<Case> nothing = {
      {"out of range", with_segment(jpeg, exif(tiff(9, 3)))},
      {"of type ASCII", with_segment(jpeg, exif(tiff(6, 2)))},
      {"another name in XMP", with_segment(jpeg, jpeg_xmp + xmp("tiff:OrientationOfCamera=\"6\">"))},
      {"a comment in a PNG", in_png("tEXt", "Comment" + nul + raw_profile(exif(tiff(6, 3))))},
      {"a damaged stream", in_png("zTXt", "Raw profile type exif" + nul + nul + "not zlib")},
      {"a cut structure", in_png("eXIf", tiff(6, 3).substr(0, 14))},
  };
  for (const Case& one : nothing) EXPECT_EQ(inspect_image(one.file).orientation, 1) << one.name;
}

}  // namespace
}  // namespace dinoxx
