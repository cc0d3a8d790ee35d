#pragma once
#include <zlib.h>

#include <cstdint>
#include <string>
#include <vector>

// PNG files by hand: with chunks and depths that encode_png does not write.
namespace dinoxx::testing_support {

/// A chunk of a PNG file, with its checksum.
inline std::vector<uint8_t> chunk(const std::string& type, const std::string& data) {
  std::vector<uint8_t> out;
  const auto number = [&](uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(value >> shift));
  };
  number(static_cast<uint32_t>(data.size()));
  const std::string body = type + data;
  out.insert(out.end(), body.begin(), body.end());
  number(static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()))));
  return out;
}

inline std::string deflated(const std::string& text) {
  std::string out(compressBound(text.size()), '\0');
  uLongf size = out.size();
  compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(text.data()), text.size());
  out.resize(size);
  return out;
}

/// A PNG of 16 bits, gray or with 3 channels; `samples` as they are stored.
inline std::vector<uint8_t> deep_png(const std::vector<uint16_t>& samples, uint32_t width, int channels = 1) {
  const uint32_t height = static_cast<uint32_t>(samples.size()) / width / static_cast<uint32_t>(channels);
  std::string rows;
  for (size_t i = 0; i < samples.size(); ++i) {
    if (i % (width * static_cast<size_t>(channels)) == 0) rows += '\0';
    rows += {static_cast<char>(samples[i] >> 8), static_cast<char>(samples[i])};
  }
  std::string header;
  for (const uint32_t side : {width, height})
    for (int shift = 24; shift >= 0; shift -= 8) header += static_cast<char>(side >> shift);
  header += {16, static_cast<char>(channels == 1 ? 0 : 2), 0, 0, 0};
  std::vector<uint8_t> out{0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  for (const std::vector<uint8_t>& part : {chunk("IHDR", header), chunk("IDAT", deflated(rows)), chunk("IEND", "")})
    out.insert(out.end(), part.begin(), part.end());
  return out;
}

}  // namespace dinoxx::testing_support
