#pragma once
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dinoxx/data_pipeline/image.hpp"
#include "formats/safetensors.hpp"
#include "source_dir.hpp"

namespace dinoxx::testing_support {

/// A small picture that depends on `seed`.
inline Image test_image(int width, int height, uint32_t seed) {
  Image image{width, height, {}};
  image.data.resize(static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
  uint32_t state = seed * 2654435761u + 1;
  for (uint8_t& value : image.data) value = static_cast<uint8_t>((state = state * 1664525u + 1013904223u) >> 24);
  return image;
}

inline void write_bytes(const std::filesystem::path& path, std::span<const uint8_t> bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

inline void write_png(const std::filesystem::path& path, uint32_t seed, int width = 8, int height = 6) { write_bytes(path, encode_png(test_image(width, height, seed))); }

inline void write_words(const std::filesystem::path& path, std::string_view text) {
  write_bytes(path, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

/// A file of tests/golden/make_decode.py: "jpeg_420", "png_palette" ...
inline std::vector<uint8_t> golden_file(const std::string& kind) {
  const SafetensorsFile golden(golden_dir() / "decode.safetensors");
  const auto bytes = golden.at(kind + ".file").bytes;
  const auto* begin = reinterpret_cast<const uint8_t*>(bytes.data());
  return {begin, begin + bytes.size()};
}

}  // namespace dinoxx::testing_support
