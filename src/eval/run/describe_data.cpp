#include "describe_data.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "data_pipeline/format/manifest.hpp"
#include "eval/classify/units.hpp"
#include "eval/multi_label/label_table.hpp"
#include "protocols.hpp"

namespace dinoxx::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// What the data were packed from, as a person calls it; else the folder's own name.
std::string data_name(const fs::path& path) {
  try {
    const json from = json::parse(read_data_manifest(path).provenance);
    if (from.value("kind", "") == "toy") return "the toy set";
    if (const fs::path source = fs::path(from.value("path", "")).lexically_normal(); !source.empty())
      return (source.has_filename() ? source : source.parent_path()).stem().string();
  } catch (const std::exception&) {  // a manifest of another form: only the path is left
  }
  const fs::path whole = fs::absolute(path).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
}

// Which column is predicted; null where the data set does not name any.
json label_column(const Dataset& dataset) {
  return dataset.label_columns().empty() ? json(nullptr) : json(dataset.label_columns().front().name);
}

// Names of the classes, the lowest first.
json in_order(const Dataset& dataset, std::span<const int32_t> ranks) {
  std::vector<std::string> names(ranks.size());
  for (size_t c = 0; c < ranks.size(); ++c) names[static_cast<size_t>(ranks[c])] = class_name(dataset, static_cast<int32_t>(c));
  return names;
}

}  // namespace

json describe_data(const Dataset& dataset, const fs::path& path, std::span<const int32_t> ranks, const LabelTable* labels) {
  std::vector<uint32_t> widths, heights;
  std::map<std::string, int64_t> splits;
  std::set<uint64_t> groups;
  for (uint64_t id = 0; id < dataset.size(); ++id) {
    const SampleMeta& meta = dataset.meta(id);
    widths.push_back(meta.width);
    heights.push_back(meta.height);
    ++splits[std::string(split_name(meta.split))];
    if (const auto group = group_of(dataset, id)) groups.insert(*group);
  }
  const auto range = [](std::vector<uint32_t>& sizes) -> json {
    if (sizes.empty()) return nullptr;
    std::sort(sizes.begin(), sizes.end());
    return {{"min", sizes.front()}, {"median", sizes[sizes.size() / 2]}, {"max", sizes.back()}};
  };
  json described = {{"path", path.string()},
                    {"name", data_name(path)},
                    {"fingerprint", dataset.fingerprint()},
                    {"images", dataset.size()},
                    {"label_column", label_column(dataset)},
                    {"classes", dataset.class_names()},
                    {"splits", splits},
                    {"groups", groups.size()},
                    {"masks", dataset.has_masks()},
                    {"width", range(widths)},
                    {"height", range(heights)}};
  if (labels) described["labels"] = labels->names;
  if (!ranks.empty()) described["order"] = in_order(dataset, ranks);
  return described;
}

}  // namespace dinoxx::eval
