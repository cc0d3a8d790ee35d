#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/files.hpp"
#include "byte_pieces.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "dinoxx/data_pipeline/image.hpp"

// One shard file of a data folder. Contract: data_pipeline/SHARD_FORMAT.md.
namespace dinoxx {

inline constexpr std::string_view kShardFormat = "dinoxx-shard";
/// 2: which samples have a group is stored (/samples/has_group). Without groups version 1 is written: both are alike then. Both are read.
inline constexpr int kShardFormatVersion = 2;
inline constexpr int format_version(bool has_groups) {
  return has_groups ? 2 : 1;
}

/// One sample as it is written.
struct SampleRecord {
  std::string key;              ///< original path or id, UTF-8, unique in its data set
  ImageInfo image;              ///< what the encoded bytes hold
  std::vector<int32_t> labels;  ///< one per label column, -1 = none
  Split split = Split::kTrain;
  std::optional<uint64_t> group;
  float weight = 1.0f;
  std::array<uint64_t, 2> content_id{};  ///< hash of the decoded pixels
};

/// What all shards of a data set say alike.
struct ShardHeader {
  std::vector<LabelColumn> label_columns;
  bool has_groups = false;
  std::string provenance = "{}";  ///< JSON: where the samples come from
  std::string packer_version, packer_command, created_utc;
  uint64_t shuffle_seed = 0;
};

/// What the manifest says of a shard.
struct ShardInfo {
  std::string file;  ///< name inside the data folder
  std::string uuid;  ///< derived from the samples: equal contents have equal uuids
  uint64_t n = 0;
  uint64_t payload_bytes = 0;  ///< encoded images and masks
  uint64_t file_bytes = 0;
  uint32_t file_crc32c = 0;
};

/// Collects samples in memory, little more than their bytes, and writes them as one file.
class ShardWriter {
 public:
  explicit ShardWriter(ShardHeader header);
  /// Copies the bytes. `mask` may be empty. Error when the record has another number of labels than the header.
  void add(const SampleRecord& record, std::span<const uint8_t> bytes, std::span<const uint8_t> mask);
  uint64_t size() const { return codec_.size(); }
  uint64_t payload_bytes() const { return blob_.size() + mask_blob_.size(); }
  /// Writes and fsyncs `path` (not atomically: the caller's folder is temporary), reads it back for its checksum, and empties the writer.
  /// `index` is the shard's number in the set. Error on a full disk and the like.
  ShardInfo finish(const std::filesystem::path& path, uint64_t index);

 private:
  friend struct ShardArrays;
  ShardHeader header_;
  detail::BytePieces blob_, mask_blob_;
  std::vector<uint8_t> key_blob_;
  std::vector<uint64_t> offset_{0}, mask_offset_{0}, key_offset_{0};
  std::vector<uint8_t> codec_, dtype_, split_, has_group_;
  std::vector<uint16_t> channels_;
  std::vector<uint32_t> width_, height_, crc_, mask_crc_;
  std::vector<uint64_t> content_id_, group_;
  std::vector<int32_t> label_;
  std::vector<float> weight_;
};

/// One shard opened for reading. The constructor uses HDF5 to check the file and take addresses; everything after is pread and thread-safe.
class ShardReader {
 public:
  /// Error when the file is not HDF5, not a dinoxx shard, of another version, truncated, or when an index array is damaged.
  explicit ShardReader(const std::filesystem::path& path);

  uint64_t size() const { return meta_.size(); }
  const std::string& uuid() const { return uuid_; }
  const std::string& label_columns_json() const { return label_columns_json_; }
  const std::string& provenance() const { return provenance_; }
  bool has_masks() const { return !mask_offset_.empty(); }
  bool has_groups() const { return has_groups_; }
  /// Samples of group 0 of a shard of version 1, which does not say whether 0 is a group. They are read as samples without one.
  uint64_t unclear_groups() const { return unclear_groups_; }
  uint64_t payload_bytes() const { return (offset_.empty() ? 0 : offset_.back()) + (mask_offset_.empty() ? 0 : mask_offset_.back()); }
  uint64_t file_bytes() const { return file_.size(); }
  const std::string& path() const { return file_.path(); }

  const SampleMeta& meta(uint64_t row) const { return meta_[row]; }
  /// Columns after the first of row `row`: column 0 is meta().label.
  int32_t label(uint64_t row, size_t column) const;
  std::array<uint64_t, 2> content_id(uint64_t row) const;
  std::string key(uint64_t row) const;
  /// Error when the bytes do not have the CRC32C that was written with them.
  void read(uint64_t row, std::vector<uint8_t>& bytes) const;
  /// Empty when the row has no mask.
  void read_mask(uint64_t row, std::vector<uint8_t>& bytes) const;

 private:
  void read_checked(uint64_t row, uint64_t address, const std::vector<uint64_t>& offset, const std::vector<uint32_t>& crc, const char* what,
                    std::vector<uint8_t>& bytes) const;
  FileDescriptor file_;
  std::string uuid_, label_columns_json_, provenance_;
  bool has_groups_ = false;
  uint64_t unclear_groups_ = 0;
  size_t columns_ = 0;
  uint64_t blob_at_ = 0, mask_blob_at_ = 0, key_blob_at_ = 0, key_offset_at_ = 0, content_id_at_ = 0;  ///< byte addresses in the file
  std::vector<SampleMeta> meta_;
  std::vector<int32_t> label_;  ///< [n, columns]
  std::vector<uint64_t> offset_, mask_offset_;
  std::vector<uint32_t> crc_, mask_crc_;
};

}  // namespace dinoxx
