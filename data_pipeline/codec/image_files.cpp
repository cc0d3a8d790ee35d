#include "image_files.hpp"

#include "data_pipeline/pack/pack_plan.hpp"

namespace dinoxx {

std::vector<ImageFile> list_images(const std::filesystem::path& folder) {
  std::vector<ImageFile> files;
  for (detail::PackItem& item : detail::plan_folder(folder).items) files.push_back({std::move(item.key), std::move(item.path)});
  return files;
}

}  // namespace dinoxx
