#pragma once
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "formats/zip_archive.hpp"

namespace dinoxx::testing_support {

/// Zip archives as torch.save lays them out, and with each defect that a test wants.
class ZipBuilder {
 public:
  struct Entry {
    std::string name, content;
    uint64_t hole = 0;  ///< bytes of zeros behind the content that are not written
    uint16_t flags = 0, method = 0;
    uint32_t crc_change = 0;
    std::string local_name = {};                         ///< if it is to differ
    int64_t local_offset = -1;                           ///< claimed in the central directory
    uint64_t size_change = 0;                            ///< added to the claimed sizes
    std::string zip64 = std::string("\x01\0\x18\0", 4);  ///< id and size of the extra field
  };
  std::vector<Entry> entries;
  bool zip64_end = false;
  int64_t count = -1, directory_offset = -1, directory_size = -1;  ///< claimed in the end record
  std::string before, between, behind, comment;

  Entry& add(std::string name, std::string content, uint64_t hole = 0) {
    entries.push_back({std::move(name), std::move(content), hole});
    return entries.back();
  }

  /// The bytes; holes are only for write().
  std::string bytes() const {
    std::string out = before, directory;
    for (const Entry& entry : entries) {
      append_record(out, directory, entry, out.size());
      out += entry.content;
    }
    out += between;
    append_end(out, directory, out.size());
    return out;
  }

  void write(const std::filesystem::path& path) const {
    std::ofstream file(path, std::ios::binary);
    std::string directory, part;
    uint64_t at = 0;
    for (const Entry& entry : entries) {
      part.clear();
      append_record(part, directory, entry, at);
      part += entry.content;
      file.seekp(static_cast<std::streamoff>(at));
      file << part;
      at += part.size() + entry.hole;
    }
    part.clear();
    append_end(part, directory, at);
    file.seekp(static_cast<std::streamoff>(at));
    file << part;
  }

 private:
  template <class T>
  static void put(std::string& out, uint64_t value) {
    const T number = static_cast<T>(value);
    out.append(reinterpret_cast<const char*>(&number), sizeof number);
  }
  static void append_record(std::string& out, std::string& directory, const Entry& entry, uint64_t at) {
    const uint32_t crc = zip_crc32(std::as_bytes(std::span(entry.content))) ^ entry.crc_change;
    const uint64_t size = entry.content.size() + entry.hole + entry.size_change;
    const std::string& local_name = entry.local_name.empty() ? entry.name : entry.local_name;
    put<uint32_t>(out, 0x04034b50);
    for (const uint64_t field : {uint64_t{20}, uint64_t{entry.flags}, uint64_t{entry.method}, uint64_t{0}, uint64_t{0}})
      put<uint16_t>(out, field);
    for (const uint64_t field : {uint64_t{crc}, size, size}) put<uint32_t>(out, field);
    put<uint16_t>(out, local_name.size());
    put<uint16_t>(out, 0);
    out += local_name;

    const uint64_t offset = entry.local_offset < 0 ? at : static_cast<uint64_t>(entry.local_offset);
    const bool large = size >= UINT32_MAX || offset >= UINT32_MAX;
    put<uint32_t>(directory, 0x02014b50);
    for (const uint64_t field : {uint64_t{20}, uint64_t{20}, uint64_t{entry.flags}, uint64_t{entry.method}, uint64_t{0}, uint64_t{0}})
      put<uint16_t>(directory, field);
    put<uint32_t>(directory, crc);
    put<uint32_t>(directory, large ? UINT32_MAX : size);
    put<uint32_t>(directory, large ? UINT32_MAX : size);
    put<uint16_t>(directory, entry.name.size());
    put<uint16_t>(directory, large ? 28 : 0);
    for (int i = 0; i < 3; ++i) put<uint16_t>(directory, 0);
    put<uint32_t>(directory, 0);
    put<uint32_t>(directory, large ? UINT32_MAX : offset);
    directory += entry.name;
    if (large) {
      directory += entry.zip64;
      for (const uint64_t field : {size, size, offset}) put<uint64_t>(directory, field);
    }
  }
  void append_end(std::string& out, const std::string& directory, uint64_t at) const {
    const uint64_t entries_said = count < 0 ? entries.size() : static_cast<uint64_t>(count);
    const uint64_t offset = directory_offset < 0 ? at : static_cast<uint64_t>(directory_offset);
    const uint64_t size = directory_size < 0 ? directory.size() : static_cast<uint64_t>(directory_size);
    out += directory;
    if (zip64_end) {
      const uint64_t end64 = at + directory.size();
      put<uint32_t>(out, 0x06064b50);
      put<uint64_t>(out, 44);
      put<uint16_t>(out, 45);
      put<uint16_t>(out, 45);
      put<uint64_t>(out, 0);
      for (const uint64_t field : {entries_said, entries_said, size, offset}) put<uint64_t>(out, field);
      put<uint32_t>(out, 0x07064b50);
      put<uint32_t>(out, 0);
      put<uint64_t>(out, end64);
      put<uint32_t>(out, 1);
    }
    put<uint32_t>(out, 0x06054b50);
    put<uint32_t>(out, 0);
    put<uint16_t>(out, entries_said);
    put<uint16_t>(out, entries_said);
    put<uint32_t>(out, zip64_end ? UINT32_MAX : size);
    put<uint32_t>(out, zip64_end ? UINT32_MAX : offset);
    put<uint16_t>(out, comment.size());
    out += comment + behind;
  }
};

}  // namespace dinoxx::testing_support
