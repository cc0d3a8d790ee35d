#include "label_checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/csv.hpp"
#include "base/text/plain_name.hpp"
#include "data_pipeline/labels/dataset_view.hpp"
#include "eval/run/protocols.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;
using ContentId = std::array<uint64_t, 2>;

constexpr size_t kExamples = 20;

json same_names(const std::vector<std::string>& names) {
  std::map<std::string, std::string> first;
  json pairs = json::array();
  for (const std::string& name : names)
    if (const auto [at, fresh] = first.try_emplace(plain_name(name), name); !fresh) pairs.push_back({at->second, name});
  return {{"pairs", std::move(pairs)}};
}

json conflicts(const Dataset& dataset, std::string& csv) {
  std::map<ContentId, std::vector<uint64_t>> images;
  for (uint64_t id = 0; id < dataset.size(); ++id)
    if (const ContentId content = dataset.content_id(id); content != ContentId{} && dataset.meta(id).label >= 0)
      images[content].push_back(id);
  std::vector<std::vector<uint64_t>> found;
  for (auto& [content, ids] : images) {
    const int32_t label = dataset.meta(ids.front()).label;
    const bool one = std::all_of(ids.begin(), ids.end(), [&](uint64_t id) { return dataset.meta(id).label == label; });
    if (!one) found.push_back(std::move(ids));
  }
  std::sort(found.begin(), found.end());
  int64_t count = 0;
  json examples = json::array();
  for (const std::vector<uint64_t>& ids : found) {
    count += static_cast<int64_t>(ids.size());
    json example = json::array();
    for (const uint64_t id : ids) {
      const SampleMeta& meta = dataset.meta(id);
      const uint64_t other = *std::find_if(ids.begin(), ids.end(), [&](uint64_t o) { return dataset.meta(o).label != meta.label; });
      example.push_back({{"image", dataset.key(id)}, {"split", split_name(meta.split)}, {"label", class_name(dataset, meta.label)}});
      const std::string fields[] = {dataset.key(id),
                                    std::string(split_name(meta.split)),
                                    class_name(dataset, meta.label),
                                    class_name(dataset, dataset.meta(other).label),
                                    "identical pixels under another label",
                                    dataset.key(other)};
      csv += csv_row(fields);
    }
    if (examples.size() < kExamples) examples.push_back(std::move(example));
  }
  return {{"pictures", found.size()}, {"images", count}, {"examples", std::move(examples)}};
}

}  // namespace

void check_labels(const Dataset& dataset, const EvalData& data, json& checks, std::string& csv) {
  json& warnings = checks["warnings"];
  checks["class_names"] = same_names(dataset.class_names());
  const bool several = !dataset.label_columns().empty() && !dataset.label_columns().front().list.empty();
  for (const json& pair : checks["class_names"]["pairs"])
    warnings.push_back(
        fmt::format("{} \"{}\" and \"{}\" differ only in case, blanks, hyphens, underscores or how accents are written: {}",
                    several ? "labels" : "classes", pair[0].get<std::string>(), pair[1].get<std::string>(),
                    several ? "write them alike in the list, where they are one" : "--merge-class-names counts them as one"));
  checks["label_conflicts"] = conflicts(dataset, csv);
  if (const json& found = checks["label_conflicts"]; found["pictures"] > 0)
    warnings.push_back(fmt::format("{} pictures (identical pixels, {} images) have several labels: suspects.csv lists them",
                                   found["pictures"].get<int64_t>(), found["images"].get<int64_t>()));
  const std::set<int32_t> tested(data.query_labels.begin(), data.query_labels.end());
  if (tested.size() == 1)
    warnings.push_back(fmt::format("all {} test images are of one class, {}: no score tells classes apart", data.queries.size(),
                                   class_name(dataset, *tested.begin())));
}

std::shared_ptr<const Dataset> chosen_labels(std::shared_ptr<const Dataset> dataset, const LabelChoice& choice) {
  dataset = with_label_column(std::move(dataset), choice.column);
  if (!choice.merge_names || same_names(dataset->class_names())["pairs"].empty()) return dataset;
  const std::vector<std::string>& names = dataset->class_names();
  std::vector<int64_t> images(names.size());
  for (uint64_t id = 0; id < dataset->size(); ++id)
    if (const int32_t label = dataset->meta(id).label; label >= 0) ++images[static_cast<size_t>(label)];
  std::vector<LabelColumn> columns = dataset->label_columns();
  std::vector<std::string> merged;
  std::map<std::string, int32_t> place_of;
  std::vector<int64_t> most;
  std::vector<int32_t> today;
  for (size_t c = 0; c < names.size(); ++c) {
    const auto [at, fresh] = place_of.try_emplace(plain_name(names[c]), static_cast<int32_t>(merged.size()));
    if (fresh) {
      merged.push_back(names[c]);
      most.push_back(images[c]);
    } else if (const auto place = static_cast<size_t>(at->second); images[c] > most[place]) {
      merged[place] = names[c];
      most[place] = images[c];
    }
    today.push_back(at->second);
  }
  std::vector<int32_t> labels;
  labels.reserve(dataset->size());
  for (uint64_t id = 0; id < dataset->size(); ++id) {
    const int32_t label = dataset->meta(id).label;
    labels.push_back(label < 0 ? label : today[static_cast<size_t>(label)]);
  }
  if (columns.empty()) columns.emplace_back();
  columns.front().classes = std::move(merged);
  return std::make_shared<DatasetView>(std::move(dataset), std::move(columns), labels);
}

}  // namespace dinoxx::eval
