#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "dinoxx/base/error.hpp"

namespace dinoxx {

struct ImageFile {
  std::string key;  ///< path below the folder, with '/'
  std::filesystem::path path;
};

/// All images below `folder` as `dinoxx pack --from-folder` finds them (by their names, links followed, hidden ones left out), sorted by
/// key. Formats that have to be converted first are among them: reading them says so. UsageError when there are none.
std::vector<ImageFile> list_images(const std::filesystem::path& folder);

/// Why an image file could not be read.
class UnreadableImage : public Error {
 public:
  UnreadableImage(const std::string& text, std::string kind, bool limit) : Error(text), kind_(std::move(kind)), limit_(limit) {}
  /// In few words: "not found", "permission denied", "not a file", "empty", "too large", "read error".
  const std::string& kind() const { return kind_; }
  /// A limit of this process or machine (open files, memory), which says nothing about the file.
  bool limit() const { return limit_; }

 private:
  std::string kind_;
  bool limit_;
};

/// The bytes of an image file, at most 1 GiB. UnreadableImage for what is not there, not readable, empty or no file: a named pipe or a
/// device does not block.
void read_image_file(const std::filesystem::path& path, std::vector<uint8_t>& bytes);

}  // namespace dinoxx
