#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data_pipeline/toy/toy.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"

namespace dinoxx::detail {

/// One image to be packed.
struct PackItem {
  std::string key;              ///< unique in the plan
  std::string path, mask_path;  ///< mask_path empty = none; both unused by drawn sets
  std::vector<int32_t> labels;
  Split split = Split::kTrain;
  uint64_t group = 0;
  float weight = 1.0f;
};

/// What to pack, in an order that depends on the input alone.
struct PackPlan {
  std::vector<PackItem> items;
  std::vector<LabelColumn> columns;
  bool has_splits = false, has_groups = false;
  std::string provenance = "{}";
  std::vector<std::string> warnings;
  /// Encoded image and mask (empty = none) of item i, for items that are not files. Thread-safe; throws Error.
  std::function<void(size_t i, std::vector<uint8_t>& image, std::vector<uint8_t>& mask)> draw;
};

/// Class folders (label = name of the first folder, classes sorted by name), or images without folders (no labels); either below split folders when all
/// folders at the top are named train, val (valid, validation) or test. UsageError when there is nothing to pack.
PackPlan plan_folder(const std::filesystem::path& folder);

/// CSV with a header: path, then any of label, label2 ..., split, group, mask, weight. Paths are relative to the CSV's folder. UsageError names line and column.
PackPlan plan_list(const std::filesystem::path& csv);

PackPlan plan_toy(const ToyOptions& options);

/// Rows of an RFC 4180 text (quotes, doubled quotes, line breaks inside quotes, CRLF, byte order mark). Empty lines are left out; line[i] is the line where row i
/// begins. UsageError for an open quote or text after a closing one.
struct CsvTable {
  std::vector<std::vector<std::string>> rows;
  std::vector<size_t> line;
};
CsvTable parse_csv(const std::string& text, const std::string& path);

/// Text values to class numbers: sorted by name, or by value when all are whole numbers. Empty text is -1. Returns the classes.
std::vector<std::string> number_classes(const std::vector<std::string>& values, std::vector<int32_t>& labels);

}  // namespace dinoxx::detail
