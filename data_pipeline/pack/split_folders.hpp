#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "dinoxx/data_pipeline/dataset.hpp"

namespace dinoxx::detail {

/// Whether a folder's name says what its images are for: a spelling of split_from_name, also with words such as set, data or images, or a
/// number: "training_set", "Test-Images", "train2017".
bool split_of_folder(std::string_view name, Split& split);

/// Where an image lies: below which split folder, and the rest of its path.
struct PlacedImage {
  Split split = Split::kTrain;
  std::string inside;
};

/// Takes the split folders off the paths (relative, with '/'): all images lie below folders that name splits, or none does, and then
/// nothing is taken off (has_splits false). UsageError for any mixture, which names the odd one: split folders beside others or beside
/// loose images, and split folders one level down.
struct SplitFolders {
  bool has_splits = false;
  std::vector<PlacedImage> images;
  std::vector<std::string> joined;  ///< for each split of several folders: "train/ (3 images), train2/ (1 image) are all the train split"
};
SplitFolders take_split_folders(const std::vector<std::string>& images, const std::string& folder);

}  // namespace dinoxx::detail
