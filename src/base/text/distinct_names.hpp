#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace dinoxx {

/// What to call each of several folders or files so that no two have one name: their last part where these differ, else as many parents
/// before it, joined by slashes, as it takes. Equal paths have equal names.
std::vector<std::string> distinct_names(const std::vector<std::filesystem::path>& paths);

}  // namespace dinoxx
