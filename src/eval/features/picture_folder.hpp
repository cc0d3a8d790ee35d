#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "data_pipeline/codec/image_files.hpp"
#include "dinoxx/comm/communicator.hpp"
#include "embed_rows.hpp"

namespace dinoxx::eval {

/// The images of a folder of any depth, as input of a network. One that cannot be read leaves a reason and an input of zeros.
class PictureFolder {
 public:
  /// `used_bits`: of 16-bit PNG, as the images were packed that they are compared with (Dataset::used_bits). UsageError for a folder
  /// without images.
  PictureFolder(const std::filesystem::path& path, const EvalTransform& transform, bool whole, const Normalization& normalization,
                int used_bits);

  int64_t size() const { return static_cast<int64_t>(files_.size()); }
  const std::string& key(size_t item) const { return files_[item].key; }
  const std::string& reason(size_t item) const { return reasons_[item]; }  ///< empty: it was read. On every rank after share_reasons()
  /// [3, crop, crop] of one image.
  void make_input(int64_t item, float* input);
  /// After each rank has made the inputs of its part (rank_items). Collective.
  void share_reasons(Communicator& comm);

 private:
  void scale(std::vector<uint8_t>& encoded) const;

  std::vector<ImageFile> files_;
  EvalTransform transform_;
  bool whole_;
  Normalization normalization_;
  int used_bits_;
  std::vector<std::string> reasons_;
};

}  // namespace dinoxx::eval
