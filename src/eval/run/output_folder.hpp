#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/files.hpp"
#include "protocols.hpp"

namespace dinoxx::eval {

// The output folder: proven writable before the work begins, taken away again when the work fails and there was none before.
class OutputFolder {
 public:
  explicit OutputFolder(const std::filesystem::path& path) : path_(path) {
    namespace fs = std::filesystem;
    for (fs::path folder = fs::absolute(path).lexically_normal(); !folder.empty() && !fs::exists(folder); folder = folder.parent_path())
      made_.push_back(folder);
    try {
      make_writable_directory(path);
    } catch (...) {
      remove_made();
      throw;
    }
  }
  ~OutputFolder() {
    if (!kept_) remove_made();
  }
  void write(const std::string& name, const std::string& content) {
    const bool replaces = std::filesystem::exists(path_ / name);
    write_file_atomically(path_ / name, content);
    if (!replaces) written_.push_back(path_ / name);
  }
  void write(const ProtocolFile& file) {
    const bool replaces = std::filesystem::exists(path_ / file.name);
    file.write(path_ / file.name);
    if (!replaces) written_.push_back(path_ / file.name);
  }
  void keep() { kept_ = true; }
  void discard() {
    std::error_code ignored;
    for (const std::filesystem::path& file : written_) std::filesystem::remove(file, ignored);
  }

 private:
  // Folders are removed only when they are empty.
  void remove_made() {
    std::error_code ignored;
    for (const std::filesystem::path& folder : made_) std::filesystem::remove(folder, ignored);
  }

  std::filesystem::path path_;
  std::vector<std::filesystem::path> made_;  // deepest first
  std::vector<std::filesystem::path> written_;
  bool kept_ = false;
};

}  // namespace dinoxx::eval
