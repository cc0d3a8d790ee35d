#pragma once
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "dinoxx/base/error.hpp"
#include "model/weights/facts.hpp"
#include "model/weights/import.hpp"
#include "model/weights/weights.hpp"
#include "small_vit.hpp"
#include "temporary_folder.hpp"

namespace dinoxx::facts_tests {

using nlohmann::json;
using testing_support::TemporaryFolder;

inline const ExportOptions kExport{imagenet_normalization()};

using Files = std::map<std::string, std::string>;

/// A file of a small network of DINO v1 under official names, and what lies beside it.
class Weights {
 public:
  explicit Weights(const std::map<std::string, std::string>& beside = {}, const std::map<std::string, std::string>& metadata = {}) {
    const VisionTransformer vit(small_vit(), at::kFloat);
    write_safetensors(folder_ / "model.safetensors", tensor_views(vit.parameters()), metadata);
    for (const auto& [name, text] : beside) std::ofstream(folder_ / name) << text;
  }
  DescribedNetwork recognized(const FactOptions& options = {}) const {
    DescribedNetwork found = describe_network(WeightFile::open(folder_.path(), FileAccess::kHeader), options);
    found.network.tensors.clear();
    return found;
  }
  std::string refused(const FactOptions& options = {}) const {
    try {
      recognized(options);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "accepted";
  }

 private:
  TemporaryFolder folder_;
};

inline Fact fact(const std::vector<Fact>& facts, const std::string& name) {
  for (const Fact& f : facts)
    if (f.name == name) return f;
  return {name, "none", "nobody"};
}
inline std::string all_notes(const DescribedNetwork& found) {
  return json(found.network.notes).dump();
}
inline FactOptions heads_by_user(int heads) {
  FactOptions options;
  options.user.heads = heads;
  return options;
}
inline FactValues mean_and_std(float mean, float std) {
  FactValues values;
  values.mean = {mean, mean, mean};
  values.std = {std, std, std};
  return values;
}

}  // namespace dinoxx::facts_tests
