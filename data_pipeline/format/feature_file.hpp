#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dinoxx/data_pipeline/dataset.hpp"

namespace dinoxx {

/// Features of images of a data set, as a file for other programs.
struct FeatureFileInfo {
  const Dataset& dataset;
  std::vector<uint64_t> ids;  ///< row i belongs to ids[i]
  int64_t dim = 0;
  std::vector<std::pair<std::string, std::string>> attributes;  ///< where the numbers are from
};

/// Written aside and renamed by commit(): readers see all of it or nothing. Destroyed without commit(), it leaves nothing behind.
class FeatureFile {
 public:
  virtual ~FeatureFile() = default;
  /// Whole rows of `dim` numbers, after those that are there.
  virtual void append(std::span<const float> rows) = 0;
  /// Error when there are fewer or more rows than ids.
  virtual void commit() = 0;
};

/// By the ending of `path`:
/// .npy: float32 [N, D] in C order (NumPy's format 1.0), with <path without ending>.csv beside it (renamed first): a header line
/// row,id,key,split,label and a line for each row. The attributes have no place in it.
/// .h5, .hdf5: datasets features [N, D] float32, ids [N] uint64, labels [N] int32 (-1: none), splits [N] uint8 (0 train, 1 val, 2 test),
/// keys [N] and classes [C] UTF-8 strings; the attributes at the root. UsageError for another ending or a folder that is not there; Error
/// when it cannot be written.
std::unique_ptr<FeatureFile> create_feature_file(const std::filesystem::path& path, FeatureFileInfo info);

}  // namespace dinoxx
