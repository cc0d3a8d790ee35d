#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dinoxx/data_pipeline/image.hpp"

namespace dinoxx {

/// What an image is for: stored with it when it was packed.
enum class Split : uint8_t { kTrain = 0, kVal = 1, kTest = 2 };
/// "train", "val" or "test".
std::string_view split_name(Split split);
/// The other way round; also training, trn, valid, validation, validate, dev, testing, tst, and upper case. False when it is none of them.
bool split_from_name(std::string_view name, Split& split);

/// One column of labels: label value i means classes[i].
struct LabelColumn {
  std::string name;
  std::vector<std::string> classes;
  std::string list = {};  ///< the column of lists (several labels an image) of which this is one label, with the classes "no" and "yes";
                          ///< empty: a column with one label an image
};

/// What is known about an image without reading it.
struct SampleMeta {
  int32_t label = -1;  ///< first label column, -1 = none
  Split split = Split::kTrain;
  std::optional<uint64_t> group;  ///< patient, plot ...: what must not stand on two sides; none = the image is by itself
  float weight = 1.0f;
  uint32_t width = 0, height = 0;
  Codec codec = Codec::kJpeg;
};

/// A packed data set (manifest.json and its shards), opened for reading by any number of threads. HDF5 is used once, on the opening thread,
/// to check each shard and take the file offsets; after that samples are read by pread. Contract: data_pipeline/SHARD_FORMAT.md.
class Dataset {
 public:
  /// `path`: the folder that holds manifest.json, or the manifest. Error on anything missing, foreign, truncated or of another format
  /// version.
  static std::shared_ptr<const Dataset> open(const std::filesystem::path& path);
  virtual ~Dataset() = default;

  virtual uint64_t size() const = 0;                   ///< images; ids are 0 to size() - 1
  virtual const std::string& fingerprint() const = 0;  ///< hash over the shards' identities; part of every checkpoint
  virtual const std::vector<std::string>& class_names() const = 0;
  virtual const SampleMeta& meta(uint64_t id) const = 0;
  virtual std::string key(uint64_t id) const = 0;  ///< original path
  /// Encoded bytes of sample `id`, CRC32C verified. Thread-safe. Error names shard, row and key.
  virtual void read(uint64_t id, std::vector<uint8_t>& bytes) const = 0;
  /// Encoded foreground mask (PNG, 8-bit gray, 0 = background); empty when the sample has none.
  virtual void read_mask(uint64_t id, std::vector<uint8_t>& bytes) const = 0;
  virtual bool has_split(Split split) const = 0;
  /// Ids of the split in ascending order.
  virtual std::vector<uint64_t> ids(Split split) const = 0;

  /// All label columns; the first is the one of class_names() and meta().label. Empty when nothing is labelled.
  virtual const std::vector<LabelColumn>& label_columns() const;
  /// Label of `id` in a column, -1 = none.
  virtual int32_t label(uint64_t id, size_t column) const { return column == 0 ? meta(id).label : -1; }
  virtual bool has_masks() const { return false; }
  virtual bool has_groups() const { return false; }
  /// Of 16-bit PNG, as they were packed (pack --used-bits): other images of the kind have to be decoded so, too (DecodeLimits).
  virtual int used_bits() const { return 16; }
  /// What the reader had to assume, because an older program packed the folder: for the user's eyes.
  virtual std::vector<std::string> notes() const { return {}; }
  /// Hash of the decoded pixels: equal for the same picture under two names. {0, 0} when not known.
  virtual std::array<uint64_t, 2> content_id(uint64_t id) const { return {}; }
};

}  // namespace dinoxx
