#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace dinoxx {

struct ImageFile {
  std::string key;  ///< path below the folder, with '/'
  std::filesystem::path path;
};

/// All images below `folder` as `dinoxx pack --from-folder` finds them (by their names, links followed, hidden ones left out), sorted by
/// key. Formats that have to be converted first are among them: reading them says so. UsageError when there are none.
std::vector<ImageFile> list_images(const std::filesystem::path& folder);

}  // namespace dinoxx
