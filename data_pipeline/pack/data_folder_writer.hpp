#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data_pipeline/format/manifest.hpp"
#include "data_pipeline/format/shard.hpp"

namespace dinoxx::detail {

/// Smallest and largest value of an image's pixels, 0 to 255.
struct PixelRange {
  int least = 255, most = 0;
};

/// Shards in a folder, and what the manifest will say of them.
class DataFolderWriter {
 public:
  /// `begun`: what the folder holds already, nothing by default. `flushed` is called after each shard, with the manifest of all so far.
  DataFolderWriter(const ShardHeader& header, uint64_t shard_bytes, std::filesystem::path folder, Manifest begun = {});
  std::function<void(const Manifest&)> flushed;
  void add(const SampleRecord& record, std::span<const uint8_t> image, std::span<const uint8_t> mask, PixelRange values);
  /// An input of that class (empty = none) that is not in the set.
  void leave_out(const std::string& class_name, const std::string& reason);
  /// Writes what is left and the manifest.
  void finish();
  /// The manifest again, with these warnings.
  void write_warnings(std::vector<std::string> warnings);
  const Manifest& manifest() const { return manifest_; }

 private:
  void flush();
  uint64_t shard_bytes_;
  std::filesystem::path folder_;
  Manifest manifest_;
  ShardWriter writer_;
};

}  // namespace dinoxx::detail
