#pragma once
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "weight_file.hpp"

namespace dinoxx {

struct WeightFile::State {
  std::filesystem::path path;
  WeightFormat format = WeightFormat::kSafetensors;
  std::vector<std::string> shards;
  uint64_t file_bytes = 0;
  std::vector<MappedFile> maps;  ///< what the entries' bytes point into
  std::vector<WeightEntry> entries;
  std::unordered_map<std::string_view, size_t> index;  ///< of entries, by name; filled when they are complete
  nlohmann::json settings = nlohmann::json::object();
  std::vector<std::string> unread;
};

/// The strides of a tensor without gaps.
std::vector<int64_t> row_major(std::span<const int64_t> shape);

/// Whether `name` is a visible file's name without any part of a path.
bool plain_file_name(const std::string& name);

/// File names of the shards by tensor name, from the text of a *.index.json. Names are file names with one of the endings, without any
/// part of a path. `settings` receives the index's metadata.
std::map<std::string, std::string> parse_weight_map(std::string_view text, const std::string& subject, nlohmann::json& settings);

}  // namespace dinoxx
