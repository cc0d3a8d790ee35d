#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "pack.hpp"

namespace dinoxx::detail {

/// bad.csv: path, reason and kind of every image that is left out, by kind, then by path.
std::string bad_as_csv(std::vector<BadInput> bad);

/// "30 not found, 2 empty", the most frequent first.
std::string counted(const std::map<std::string, uint64_t>& count);
/// The same of the kinds of bad images.
std::string kinds_of(const std::vector<BadInput>& bad);

/// When no image is good; as too_many_bad.
[[noreturn]] void none_good(const std::vector<BadInput>& bad, const std::string& input, const std::filesystem::path& out);

/// Writes the list of bad images beside the folder that is not made (or, where that may not be written, into the current one), and throws.
[[noreturn]] void too_many_bad(const std::vector<BadInput>& bad, uint64_t total, double allowed_fraction, const std::filesystem::path& out);

/// Images with faults that are packed all the same: faults.csv of the data folder.
class Faulty {
 public:
  /// Nothing for a sound image.
  void add(const std::string& key, const DecodeNotes& notes);
  bool empty() const { return rows_.empty(); }
  /// What as_csv() gave; `path` for messages.
  static Faulty from_csv(const std::string& csv, const std::string& path);
  /// The same of a file; nothing when it is not there.
  static Faulty read(const std::filesystem::path& list);
  /// path, fault, and whether pixels are lost; by path.
  std::string as_csv() const;
  void add_warnings(std::vector<std::string>& warnings) const;

 private:
  struct Row {
    std::string key, fault;
    bool lost;
  };
  std::vector<Row> rows_;
};

}  // namespace dinoxx::detail
