#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "dinoxx/base/error.hpp"
#include "dinoxx/data_pipeline/image.hpp"
#include "formats/safetensors.hpp"
#include "source_dir.hpp"

// Expected pixels: make_decode.py.
namespace dinoxx {
namespace {

std::vector<std::string> kinds(const SafetensorsFile& golden) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : golden.tensors()) {
    if (name.ends_with(".file")) names.push_back(name.substr(0, name.size() - 5));
  }
  return names;
}

std::span<const uint8_t> bytes_of(const TensorView& tensor) {
  return {reinterpret_cast<const uint8_t*>(tensor.bytes.data()), tensor.bytes.size()};
}

TEST(DecodeGolden, EveryKindLikePillow) {
  const SafetensorsFile golden(golden_dir() / "decode.safetensors");
  const std::vector<std::string> names = kinds(golden);
  ASSERT_EQ(names.size(), 25u);
  Image image;
  for (const std::string& name : names) {
    const auto file = bytes_of(golden.at(name + ".file"));
    const TensorView& expected = golden.at(name + ".rgb");
    decode_image(file, image);
    ASSERT_EQ(image.height, expected.shape[0]) << name;
    ASSERT_EQ(image.width, expected.shape[1]) << name;
    const auto pixels = bytes_of(expected);
    int worst = 0;
    for (size_t i = 0; i < pixels.size(); ++i) worst = std::max(worst, std::abs(int{image.data[i]} - int{pixels[i]}));
    EXPECT_EQ(worst, 0) << name;  // both decode with libjpeg-turbo and libpng: nothing to tolerate
    const ImageInfo info = inspect_image(file);
    EXPECT_EQ(info.width, image.width) << name;
    EXPECT_EQ(info.height, image.height) << name;
  }
}

TEST(DecodeGolden, HeadersSayWhatIsStored) {
  const SafetensorsFile golden(golden_dir() / "decode.safetensors");
  const auto info = [&](const std::string& name) { return inspect_image(bytes_of(golden.at(name + ".file"))); };
  EXPECT_EQ(info("jpeg_cmyk").channels, 4);
  EXPECT_EQ(info("jpeg_gray").channels, 1);
  EXPECT_EQ(info("jpeg_420").codec, Codec::kJpeg);
  EXPECT_EQ(info("png_rgb").codec, Codec::kPng);
  EXPECT_EQ(info("png_rgba").channels, 4);
  EXPECT_EQ(info("png_rgb16").bits, 16);
  EXPECT_EQ(info("png_bilevel").bits, 1);
  EXPECT_TRUE(info("png_palette").palette);
  EXPECT_FALSE(info("png_gray").palette);
  for (int orientation = 1; orientation <= 8; ++orientation)
    EXPECT_EQ(info(fmt::format("jpeg_exif_{}", orientation)).orientation, orientation);
  EXPECT_EQ(info("png_exif_6").orientation, 6);
}

/// A damaged file gives an image or an Error; under the sanitizers of the asan preset nothing else. Positions and values are drawn from a
/// fixed sequence.
TEST(DecodeGolden, DamagedFilesNeverDoHarm) {
  const SafetensorsFile golden(golden_dir() / "decode.safetensors");
  uint64_t state = 12345;
  const auto next = [&state](uint64_t n) { return ((state = state * 6364136223846793005ull + 1442695040888963407ull) >> 33) % n; };
  Image image;
  DecodeLimits limits;
  limits.max_pixels = 1 << 20;
  int refused = 0, decoded = 0;
  for (const std::string& name : kinds(golden)) {
    const auto file = bytes_of(golden.at(name + ".file"));
    for (int trial = 0; trial < 100; ++trial) {
      std::vector<uint8_t> damaged(file.begin(), file.end());
      if (trial % 4 == 0) damaged.resize(next(damaged.size()));
      for (uint64_t flips = trial % 4 == 0 ? 0 : 1 + next(8); flips > 0; --flips)
        damaged[next(damaged.size())] ^= static_cast<uint8_t>(1 + next(255));
      try {
        decode_image(damaged, image, limits);
        EXPECT_EQ(image.data.size(), static_cast<size_t>(image.width) * static_cast<size_t>(image.height) * 3);
        ++decoded;
      } catch (const Error& error) {
        EXPECT_NE(error.what()[0], '\0');
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 1000);
  EXPECT_GT(decoded, 50);
}

TEST(DecodeGolden, EveryTruncationIsNoticed) {
  const SafetensorsFile golden(golden_dir() / "decode.safetensors");
  Image image;
  DecodeLimits strict;  // others take a file of which no pixel is missing
  strict.tolerance = Tolerance::kStrict;
  for (const char* name : {"jpeg_420", "jpeg_444", "jpeg_gray", "jpeg_cmyk", "png_rgb", "png_palette", "png_interlaced"}) {
    const auto file = bytes_of(golden.at(std::string(name) + ".file"));
    for (size_t size = 0; size < file.size(); ++size) {
      // the end marker of a JPEG may lack: libjpeg supplies it and warns, which counts
      EXPECT_THROW(decode_image(file.first(size), image, strict), Error) << name << " cut to " << size << " of " << file.size();
    }
  }
}

}  // namespace
}  // namespace dinoxx
