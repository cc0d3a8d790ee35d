#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "dinoxx/base/error.hpp"
#include "pack_plan.hpp"

namespace dinoxx::detail {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 4> kPacked = {".jpg", ".jpeg", ".jpe", ".png"};
// Pictures that have to be converted first: they count as bad, so that a folder of them is not silently taken for empty
constexpr std::array<std::string_view, 13> kOtherImages = {".bmp", ".gif", ".tif", ".tiff", ".webp", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".jfif", ".ppm", ".pgm"};

bool is_image_name(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(kPacked.begin(), kPacked.end(), extension) != kPacked.end() ||
         std::find(kOtherImages.begin(), kOtherImages.end(), extension) != kOtherImages.end();
}

bool hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

struct Found {
  std::vector<std::string> images;  ///< relative to the root, with '/'
  uint64_t others = 0;              ///< files that are no images by name
};

/// All files below `folder`, following links; a folder is entered once.
void scan(const fs::path& folder, const std::string& prefix, std::set<std::pair<uint64_t, uint64_t>>& entered, Found& found) {
  struct stat info {};
  if (::stat(folder.c_str(), &info) != 0 || !entered.insert({info.st_dev, info.st_ino}).second) return;
  std::error_code code;
  fs::directory_iterator entries(folder, code);
  if (code) fail_usage(folder.string(), "a readable folder", code.message(), "Check its permissions");
  for (const fs::directory_entry& entry : entries) {
    if (hidden(entry.path())) continue;
    const std::string name = prefix + entry.path().filename().string();
    if (entry.is_directory(code)) {
      scan(entry.path(), name + "/", entered, found);
    } else if (is_image_name(entry.path())) {
      found.images.push_back(name);
    } else {
      ++found.others;
    }
  }
}

std::string first_part(const std::string& path) { return path.substr(0, path.find('/')); }
std::string after_first_part(const std::string& path) {
  const size_t slash = path.find('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

}  // namespace

PackPlan plan_folder(const fs::path& folder) {
  constexpr const char* kAdvice = "--from-folder wants one folder of images per class, or images without folders";
  std::error_code code;
  if (!fs::exists(folder, code)) fail_usage(folder.string(), "a folder of images", "nothing there", "Check the path");
  if (!fs::is_directory(folder, code)) fail_usage(folder.string(), "a folder of images", "a file", "A CSV is packed with --list");
  Found found;
  std::set<std::pair<uint64_t, uint64_t>> entered;
  scan(folder, "", entered, found);
  if (found.images.empty()) {
    fail_usage(folder.string(), "JPEG or PNG images", found.others == 0 ? "an empty folder" : fmt::format("{} files, none of them an image", found.others), kAdvice);
  }
  std::sort(found.images.begin(), found.images.end());

  PackPlan plan;
  if (found.others > 0) plan.warnings.push_back(fmt::format("{} files that are no images by their names were left out", found.others));
  Split split;
  plan.has_splits = std::all_of(found.images.begin(), found.images.end(),
                                [&](const std::string& image) { return image.find('/') != std::string::npos && split_from_name(first_part(image), split); });
  const auto below_split = [&](const std::string& image) { return plan.has_splits ? after_first_part(image) : image; };

  std::vector<std::string> class_of(found.images.size());
  bool labelled = false;
  uint64_t loose = 0;
  for (size_t i = 0; i < found.images.size(); ++i) {
    const std::string inside = below_split(found.images[i]);
    if (inside.find('/') != std::string::npos) {
      class_of[i] = first_part(inside);
      labelled = true;
    } else {
      ++loose;
    }
  }
  std::vector<int32_t> labels(found.images.size(), -1);
  if (labelled) {
    LabelColumn column{"label", class_of};
    std::erase(column.classes, std::string());
    std::sort(column.classes.begin(), column.classes.end());
    column.classes.erase(std::unique(column.classes.begin(), column.classes.end()), column.classes.end());
    for (size_t i = 0; i < class_of.size(); ++i) {
      if (class_of[i].empty()) continue;
      labels[i] = static_cast<int32_t>(std::lower_bound(column.classes.begin(), column.classes.end(), class_of[i]) - column.classes.begin());
    }
    if (loose > 0) plan.warnings.push_back(fmt::format("{} images lie beside the class folders: they are packed without a label", loose));
    plan.columns.push_back(std::move(column));
  }
  plan.items.resize(found.images.size());
  for (size_t i = 0; i < found.images.size(); ++i) {
    PackItem& item = plan.items[i];
    item.key = found.images[i];
    item.path = (folder / found.images[i]).string();
    if (labelled) item.labels = {labels[i]};
    if (plan.has_splits) split_from_name(first_part(found.images[i]), item.split);
  }
  plan.provenance = nlohmann::json({{"kind", "folder"}, {"path", fs::absolute(folder).lexically_normal().string()}, {"images", plan.items.size()}})
                        .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return plan;
}

}  // namespace dinoxx::detail
