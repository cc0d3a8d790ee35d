#include "distinct_names.hpp"

#include <algorithm>
#include <set>

namespace dinoxx {

namespace fs = std::filesystem;

std::vector<std::string> distinct_names(const std::vector<fs::path>& paths) {
  std::vector<std::vector<std::string>> parts;
  for (const fs::path& path : paths) {
    std::vector<std::string> of_path;
    for (const fs::path& part : fs::absolute(path / "").lexically_normal().parent_path()) of_path.push_back(part.string());
    parts.push_back(of_path);
  }
  for (size_t take = 1;; ++take) {
    std::vector<std::string> names;
    bool whole = true;
    for (const std::vector<std::string>& of_path : parts) {
      const size_t n = std::min(take, of_path.size());
      std::string name;
      for (size_t i = of_path.size() - n; i < of_path.size(); ++i) name += (name.empty() ? "" : "/") + of_path[i];
      names.push_back(name);
      whole &= n == of_path.size();
    }
    if (whole || std::set(names.begin(), names.end()).size() == names.size()) return names;
  }
}

}  // namespace dinoxx
