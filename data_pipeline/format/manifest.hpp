#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "dinoxx/data_pipeline/dataset.hpp"
#include "shard.hpp"

namespace dinoxx {

inline constexpr std::string_view kManifestFormat = "dinoxx-data";
inline constexpr std::string_view kManifestName = "manifest.json";

/// Values of the pixels of all images of one bit depth, as they are read: 0 to 255.
struct ValueRange {
  int bits = 8;  ///< per channel, as stored: 8 (or fewer) or 16
  uint64_t images = 0;
  int least = 255, most = 0;
};

/// Inputs of one class (empty = none) that were left out for one reason.
struct LeftOut {
  std::string class_name, reason;
  uint64_t images = 0;
};

/// manifest.json: which shards make up a data set. SHARD_FORMAT.md says what each field means.
struct Manifest {
  std::string fingerprint;
  std::string packer_version, packer_command, created_utc;
  std::string provenance = "{}";  ///< JSON
  std::vector<LabelColumn> label_columns;
  bool has_groups = false, has_masks = false;
  int used_bits = 16;  ///< of 16-bit PNG, as they were packed: other images of the kind must be read so, too
  std::vector<ShardInfo> shards;
  std::array<uint64_t, 3> split_count{};             ///< per Split
  std::array<std::vector<uint64_t>, 3> class_count;  ///< per Split: images per class of the first label column
  std::array<uint64_t, 3> unlabelled{};
  std::string input_identity;      ///< of the packer: hash of input and options; empty in folders of older programs
  uint64_t bad = 0;                ///< inputs that were skipped; listed in bad.csv
  std::vector<LeftOut> left_out;   ///< the same by class and reason; not known of folders of older programs
  std::vector<ValueRange> values;  ///< not known of folders of older programs
  uint64_t one_colour = 0;         ///< images with one value in all pixels
  std::vector<std::string> warnings;

  uint64_t samples() const;
  std::string to_json() const;
  /// Error (with `path` in its text) for anything that is no manifest of this version.
  static Manifest from_json(const std::string& text, const std::string& path);
};

/// Hash over the shards' order, identities and sizes.
std::string fingerprint_of(const std::vector<ShardInfo>& shards);

/// The folder of `path`, which may be the folder or its manifest. Error when there is no manifest.
std::filesystem::path data_folder(const std::filesystem::path& path);
Manifest read_data_manifest(const std::filesystem::path& path);

}  // namespace dinoxx
