#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dinoxx {

/// A stored (uncompressed) file inside a zip archive. Views into the archive's bytes.
struct ZipEntry {
  std::string_view name;
  std::span<const std::byte> bytes;
  uint32_t crc32 = 0;
};

/// CRC-32 of zip and zlib (reflected polynomial 0xEDB88320).
uint32_t zip_crc32(std::span<const std::byte> bytes);

/// Central directory of a zip archive, zip64 included (PKWARE APPNOTE 6.3, sections 4.3 and 4.5.3), for archives whose entries are
/// stored. Refused: entries that are compressed, encrypted, outside of the archive, overlapping, twice of the same name, or that differ
/// from their local header; archives of several disks or with bytes before the first or behind the last record. Error names `subject`.
std::vector<ZipEntry> read_zip(std::span<const std::byte> archive, const std::string& subject);

}  // namespace dinoxx
