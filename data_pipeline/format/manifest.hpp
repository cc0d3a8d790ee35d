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

/// manifest.json: which shards make up a data set. SHARD_FORMAT.md says what each field means.
struct Manifest {
  std::string fingerprint;
  std::string packer_version, packer_command, created_utc;
  std::string provenance = "{}";  ///< JSON
  std::vector<LabelColumn> label_columns;
  bool has_groups = false, has_masks = false;
  std::vector<ShardInfo> shards;
  std::array<uint64_t, 3> split_count{};                ///< per Split
  std::array<std::vector<uint64_t>, 3> class_count;     ///< per Split: images per class of the first label column
  std::array<uint64_t, 3> unlabelled{};
  uint64_t bad = 0;  ///< inputs that were skipped; listed in bad.csv
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
