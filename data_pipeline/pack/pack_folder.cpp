#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/files.hpp"
#include "base/json_text.hpp"
#include "base/utf8.hpp"
#include "dinoxx/base/error.hpp"
#include "pack_plan.hpp"
#include "split_folders.hpp"

namespace dinoxx::detail {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 4> kPacked = {".jpg", ".jpeg", ".jpe", ".png"};
// Pictures that have to be converted first: they count as bad, so that a folder of them is not silently taken for empty
constexpr std::array<std::string_view, 13> kOtherImages = {".bmp",  ".gif", ".tif", ".tiff", ".webp", ".heic", ".heif",
                                                           ".avif", ".jxl", ".jp2", ".jfif", ".ppm",  ".pgm"};

bool is_image_name(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(kPacked.begin(), kPacked.end(), extension) != kPacked.end() ||
         std::find(kOtherImages.begin(), kOtherImages.end(), extension) != kOtherImages.end();
}

bool hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

/// What systems put beside pictures, such as thumbnails: never looked at.
bool of_the_system(const std::string& name) {
  constexpr std::array<std::string_view, 7> kNames = {
      "@eaDir", "__MACOSX", "lost+found", "$RECYCLE.BIN", "#recycle", "#snapshot", "System Volume Information"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

struct Found {
  std::vector<std::string> images;                               ///< relative to the root, with '/'
  std::map<std::string, uint64_t> others;                        ///< files that are no images by name, per extension
  std::set<std::string> system_folders;                          ///< their names
  uint64_t hidden_images = 0;                                    ///< by their names, not looked at
  std::vector<std::string> again;                                ///< "b is a": folders under another name
  std::map<std::pair<uint64_t, uint64_t>, std::string> entered;  ///< device and inode -> name
};

/// All files below `folder`, by name, following links; a folder is entered once, under the name that comes first.
void scan(const fs::path& folder, const std::string& prefix, Found& found) {
  struct stat info {};
  if (::stat(folder.c_str(), &info) != 0) return;
  const auto [known, fresh] = found.entered.try_emplace({info.st_dev, info.st_ino}, prefix.empty() ? "./" : prefix);
  if (!fresh) {
    found.again.push_back(fmt::format("{} is {}", escaped(prefix), escaped(known->second)));
    return;
  }
  std::error_code code;
  fs::directory_iterator entries(folder, code);
  if (code) fail_usage(folder.string(), "a readable folder", code.message(), reading_advice(code.value()));
  std::vector<fs::directory_entry> sorted(entries, fs::directory_iterator());  // not in the file system's order
  std::sort(sorted.begin(), sorted.end());
  for (const fs::directory_entry& entry : sorted) {
    if (hidden(entry.path())) {
      found.hidden_images += !entry.is_directory(code) && is_image_name(entry.path()) ? 1 : 0;
      continue;
    }
    const std::string own = entry.path().filename().string(), name = prefix + own;
    if (entry.is_directory(code)) {
      if (of_the_system(own))
        found.system_folders.insert(own);
      else
        scan(entry.path(), name + "/", found);
    } else if (is_image_name(entry.path())) {
      found.images.push_back(name);
    } else {
      ++found.others[entry.path().extension().string()];
    }
  }
}

void add_warnings(const Found& found, std::vector<std::string>& warnings) {
  if (!found.others.empty()) {
    uint64_t files = 0;
    std::vector<std::string> kinds;
    for (const auto& [extension, n] : found.others) {
      files += n;
      kinds.push_back(fmt::format("{} {}", n, extension.empty() ? "without extension" : escaped(extension)));
    }
    if (kinds.size() > 8) kinds.resize(8);
    warnings.push_back(fmt::format("{} files that are no images by their names were left out: {}", files, fmt::join(kinds, ", ")));
  }
  if (!found.again.empty()) {
    warnings.push_back(fmt::format("{} folders have two names, and are packed once, under the name that comes first: {}{}",
                                   found.again.size(), found.again.front(), found.again.size() > 1 ? ", ..." : ""));
  }
}

std::string first_part(const std::string& path) {
  return path.substr(0, path.find('/'));
}

// tr/cat, tr/dog, te/cat, te/dog: what look like classes have the same folders inside, as splits have under names that are not known.
void warn_of_unknown_splits(const std::vector<std::string>& images, std::vector<std::string>& warnings) {
  std::map<std::string, std::set<std::string>> inside;
  for (const std::string& image : images) {
    const size_t first = image.find('/'), second = first == std::string::npos ? first : image.find('/', first + 1);
    if (second == std::string::npos) return;  // images right in a class
    inside[image.substr(0, first)].insert(image.substr(first + 1, second - first - 1));
  }
  if (inside.size() < 2 || inside.begin()->second.size() < 2) return;
  std::vector<std::string> outer;
  for (const auto& [name, folders] : inside) {
    if (folders != inside.begin()->second) return;
    outer.push_back(escaped(name));
  }
  warnings.push_back(
      fmt::format("{} became classes, and each has the same folders in it ({}). If they are splits, call them train, val and test",
                  fmt::join(outer, ", "), escaped(fmt::format("{}", fmt::join(inside.begin()->second, ", ")))));
}

}  // namespace

std::string Names::kept(const std::string& name) {
  std::string text = escaped(name);
  if (text != name && changed_++ == 0) example_ = text;
  return text;
}

void Names::add_warning(std::vector<std::string>& warnings) const {
  if (changed_ == 0) return;
  warnings.push_back(
      fmt::format("{} names with bytes that are no UTF-8 text, or with control characters: each such byte is kept as \\xHH, as in {}",
                  changed_, example_));
}

PackPlan plan_folder(const fs::path& folder, bool split_folders, bool for_pack) {
  const char* advice =
      for_pack ? "--from-folder wants one folder of images per class, or images without folders" : "Name the folder that the images are in";
  std::error_code code;
  if (!fs::exists(folder, code)) fail_usage(folder.string(), "a folder of images", "nothing there", "Check the path");
  if (!fs::is_directory(folder, code))
    fail_usage(folder.string(), "a folder of images", "a file", for_pack ? "A CSV is packed with --list" : "Name the folder that it is in");
  Found found;
  scan(folder, "", found);
  if (found.images.empty()) {
    PackPlan empty;
    add_warnings(found, empty.warnings);
    fail_usage(folder.string(), "JPEG or PNG images",
               empty.warnings.empty() ? "an empty folder" : fmt::format("none: {}", fmt::join(empty.warnings, "; ")), advice);
  }
  std::sort(found.images.begin(), found.images.end());

  PackPlan plan;
  add_warnings(found, plan.warnings);
  if (!found.system_folders.empty())
    plan.notes.push_back(fmt::format("not looked at: folders of the system ({})", fmt::join(found.system_folders, ", ")));
  if (found.hidden_images > 0)
    plan.notes.push_back(fmt::format("not looked at: {} hidden images (names that begin with a dot)", found.hidden_images));
  SplitFolders placed;
  if (split_folders) {
    placed = take_split_folders(found.images, folder.string());
  } else {
    for (const std::string& image : found.images) placed.images.push_back({Split::kTrain, image});
  }
  plan.has_splits = placed.has_splits;
  for (const std::string& text : placed.joined) plan.warnings.push_back(text + ". If one of them is not, move it away");

  std::vector<std::string> class_of(found.images.size());
  bool labelled = false;
  uint64_t loose = 0;
  for (size_t i = 0; i < found.images.size(); ++i) {
    const std::string& inside = placed.images[i].inside;
    if (inside.find('/') != std::string::npos) {
      class_of[i] = first_part(inside);
      labelled = true;
    } else {
      ++loose;
    }
  }
  if (!placed.has_splits && split_folders) warn_of_unknown_splits(found.images, plan.warnings);
  for (std::string& name : class_of) name = escaped(name);
  std::vector<int32_t> labels(found.images.size(), -1);
  if (labelled) {
    LabelColumn column{"label", class_of};
    std::erase(column.classes, std::string());
    std::sort(column.classes.begin(), column.classes.end());
    column.classes.erase(std::unique(column.classes.begin(), column.classes.end()), column.classes.end());
    for (size_t i = 0; i < class_of.size(); ++i) {
      if (class_of[i].empty()) continue;
      labels[i] =
          static_cast<int32_t>(std::lower_bound(column.classes.begin(), column.classes.end(), class_of[i]) - column.classes.begin());
    }
    if (loose > 0) plan.warnings.push_back(fmt::format("{} images lie beside the class folders: they are packed without a label", loose));
    plan.columns.push_back(std::move(column));
  }
  plan.items.resize(found.images.size());
  Names names;
  for (size_t i = 0; i < found.images.size(); ++i) {
    PackItem& item = plan.items[i];
    item.key = names.kept(found.images[i]);
    item.path = (folder / found.images[i]).string();
    if (labelled) item.labels = {labels[i]};
    item.split = placed.images[i].split;
  }
  names.add_warning(plan.warnings);
  plan.provenance =
      json_text({{"kind", "folder"}, {"path", fs::absolute(folder).lexically_normal().string()}, {"images", plan.items.size()}});
  return plan;
}

}  // namespace dinoxx::detail
