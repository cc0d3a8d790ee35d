#include "split_folders.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>

#include "base/utf8.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx::detail {
namespace {

constexpr const char* kOwnWay = "If these folders are classes all the same, give --no-split-folders; --list says for each image what it is";
constexpr size_t kShown = 5;

std::string_view first_part(std::string_view path) {
  return path.substr(0, path.find('/'));
}
bool has_folder(std::string_view path) {
  return path.find('/') != std::string_view::npos;
}
std::string without_first_part(const std::string& path) {
  return path.substr(path.find('/') + 1);
}

/// "a/ (3 images), b/ (1 image)"
std::string listed(const std::map<std::string, size_t>& folders) {
  std::vector<std::string> texts;
  for (const auto& [name, images] : folders) {
    if (texts.size() == kShown) {
      texts.push_back("...");
      break;
    }
    texts.push_back(fmt::format("{} ({} image{})", escaped(name), images, images == 1 ? "" : "s"));
  }
  return fmt::format("{}", fmt::join(texts, ", "));
}

/// Images per folder at the top of these paths, by whether its name is a split's. Images without a folder are an entry of their own.
struct Tops {
  std::map<std::string, size_t> splits, others;
};
Tops tops_of(const std::vector<std::string>& paths) {
  Tops tops;
  for (const std::string& path : paths) {
    Split split;
    if (!has_folder(path))
      ++tops.others["images without a folder"];
    else if (const std::string name(first_part(path)); split_of_folder(name, split))
      ++tops.splits[name + "/"];
    else
      ++tops.others[name + "/"];
  }
  return tops;
}

/// Class folders that hold split folders: the splits would be lost, and test images trained on.
void refuse_splits_inside(const std::vector<std::string>& images, const std::string& folder, const Tops& tops) {
  std::map<std::string, size_t> inside;
  for (const std::string& image : images) {
    if (!has_folder(image)) continue;
    const std::string rest = without_first_part(image);
    Split split;
    if (has_folder(rest) && split_of_folder(first_part(rest), split)) ++inside[fmt::format("{}/{}/", first_part(image), first_part(rest))];
  }
  if (inside.empty()) return;
  const bool wrapped = tops.others.size() == 1;  // one folder around the splits, as archives have it
  fail_usage(folder, "the split folders at the top, and the class folders inside them", "split folders one level down: " + listed(inside),
             wrapped ? fmt::format("Pack that folder: --from-folder {}/{}. {}", folder, escaped(first_part(images.front())), kOwnWay)
                     : fmt::format("Turn the folders around, or pack each of these folders by itself. {}", kOwnWay));
}

/// A split folder inside the folder of the same split ("training_set/training_set/cat/1.jpg") is taken off too.
void take_doubled_folders(SplitFolders& found, const std::string& folder) {
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest}) {
    for (bool again = true; again;) {
      std::vector<std::string> paths;
      for (const PlacedImage& image : found.images)
        if (image.split == split) paths.push_back(image.inside);
      const Tops tops = tops_of(paths);
      again = !tops.splits.empty() && tops.others.empty();  // beside class folders it is a class: there are trains in pictures of traffic
      if (!again) break;
      const bool same = std::all_of(tops.splits.begin(), tops.splits.end(), [&](const auto& entry) {
        Split of = split;
        return split_of_folder(first_part(entry.first), of) && of == split;
      });
      if (!same) {
        fail_usage(fmt::format("{}, {} folder", folder, split_name(split)), "class folders, or images",
                   fmt::format("the split folders {} inside it", listed(tops.splits)), kOwnWay);
      }
      for (PlacedImage& image : found.images)
        if (image.split == split) image.inside = without_first_part(image.inside);
    }
  }
}

std::vector<std::string> splits_of_several_folders(const std::map<std::string, size_t>& splits) {
  std::map<Split, std::map<std::string, size_t>> folders;
  for (const auto& [name, images] : splits) {
    Split split{};
    split_of_folder(first_part(name), split);
    folders[split][name] = images;
  }
  std::vector<std::string> texts;
  for (const auto& [split, names] : folders)
    if (names.size() > 1) texts.push_back(fmt::format("{} are all the {} split", listed(names), split_name(split)));
  return texts;
}

}  // namespace

bool split_of_folder(std::string_view name, Split& split) {
  static constexpr std::array<std::string_view, 10> kNoise = {"set",   "sets", "data", "dataset", "images",
                                                              "image", "imgs", "img",  "split",   "samples"};
  std::string word;
  std::vector<std::string> words;
  const auto end_word = [&] {
    while (!word.empty() && std::isdigit(static_cast<unsigned char>(word.back())) != 0) word.pop_back();  // "train2017", "test_1"
    if (!word.empty() && std::find(kNoise.begin(), kNoise.end(), word) == kNoise.end()) words.push_back(word);
    word.clear();
  };
  for (const char c : name) {
    if (c == '_' || c == '-' || c == ' ' || c == '.')
      end_word();
    else
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  end_word();
  if (words.size() != 1) return false;
  if (split_from_name(words[0], split)) return true;
  return std::any_of(kNoise.begin(), kNoise.end(), [&](std::string_view noise) {  // "trainset"
    return words[0].ends_with(noise) && split_from_name(std::string_view(words[0]).substr(0, words[0].size() - noise.size()), split);
  });
}

SplitFolders take_split_folders(const std::vector<std::string>& images, const std::string& folder) {
  const Tops tops = tops_of(images);
  SplitFolders found;
  found.has_splits = !tops.splits.empty();
  if (!found.has_splits) refuse_splits_inside(images, folder, tops);
  if (found.has_splits && !tops.others.empty()) {
    fail_usage(folder, "at the top either split folders (train, val, test) or class folders",
               fmt::format("the split{} {} beside {}", tops.splits.size() == 1 ? "" : "s", listed(tops.splits), listed(tops.others)),
               fmt::format("Move the odd one away, or name it as the split it is. {}", kOwnWay));
  }
  for (const std::string& image : images) {
    PlacedImage placed{Split::kTrain, image};
    if (found.has_splits) {
      split_of_folder(first_part(image), placed.split);
      placed.inside = without_first_part(image);
    }
    found.images.push_back(std::move(placed));
  }
  found.joined = splits_of_several_folders(tops.splits);
  if (found.has_splits) take_doubled_folders(found, folder);
  return found;
}

}  // namespace dinoxx::detail
