#include "eval_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "base/files.hpp"
#include "data_pipeline/labels/dataset_view.hpp"
#include "data_pipeline/labels/label_lists.hpp"
#include "dinoxx/base/error.hpp"
#include "eval_sections.hpp"
#include "report/run/run_figures.hpp"
#include "results/protocol_names.hpp"

namespace dinoxx::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Whether a protocol is for data of this kind: with several labels an image, or with one class.
bool asks_for(const std::string& key, bool several) {
  return key == "match" || several == (key == "multi_label");
}

// Protocols that were not run, and what those that were run have left out.
Html not_run(const Results& results) {
  std::vector<Html> items;
  const bool several = !elements(at(results.all(), {"data", "labels"})).empty();
  for (const KnownProtocol& known : known_protocols())
    if (asks_for(known.key, several) &&
        std::find(results.protocols().begin(), results.protocols().end(), known.key) == results.protocols().end())
      items.push_back(element("strong", text(eval::protocol_word(known.key))) + text(std::string(": ") + known.what));
  for (const std::string& key : results.protocols()) {
    for (const json& result : elements(at(results.all(), {"suites", key.c_str(), "results"}))) {
      const json& left_out = at(result, {"left_out"});
      if (!left_out.is_null())
        items.push_back(text(fmt::format("{} of {}: ", eval::protocol_word(key), text_of(result, "name"))) + value_text(left_out));
    }
  }
  return items.empty() ? paragraph("Every protocol of this version was run.") : list(items);
}

void each_string(const json& value, const std::function<void(const std::string&)>& visit) {
  if (value.is_string()) visit(value.get<std::string>());
  if (value.is_structured())
    for (const json& item : value) each_string(item, visit);
}

// The data set with the labels that were evaluated.
std::shared_ptr<const Dataset> as_evaluated(std::shared_ptr<const Dataset> dataset, const json& results) {
  const json& several = elements(at(results, {"data", "labels"}));
  if (several.empty()) return with_label_column(std::move(dataset), text_of(at(results, {"data"}), "label_column"), "--data");
  std::vector<std::string> names;
  names.reserve(several.size());
  for (const json& label : several) names.push_back(label.is_string() ? label.get<std::string>() : "");
  std::vector<BinaryLabel> labels = binary_labels_of(*dataset, names, "--data");
  return with_rarest_label(std::move(dataset), labels);
}

// What the data were packed from, else the folder's own name.
std::string data_name(const json& data) {
  if (const std::string name = text_of(data, "name"); !name.empty()) return name;
  const fs::path path = fs::path(text_of(data, "path")).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

}  // namespace

std::string eval_report_html(const json& content, std::shared_ptr<const Dataset> dataset, const std::map<std::string, std::string>& tables,
                             const std::map<std::string, std::string>& feature_pictures) {
  const Results results(content);
  const Thumbnails pictures(std::move(dataset));
  const auto table = [&](const std::string& key) {
    const auto found = tables.find(key);
    return found == tables.end() ? std::string() : found->second;
  };
  const std::string data = data_name(at(results.all(), {"data"}));
  Page page("Evaluation" + (data.empty() ? "" : " on " + data), text_of(at(results.all(), {"checkpoint"}), "file"));
  const auto section = [&](const char* id, const char* heading, const Html& body) {
    page.section(id, heading, body.code.empty() ? paragraph("Not run: results.json has no such results.") : body);
  };
  section("verdict", "Verdict", verdict_section(results));
  section("next", "What to do next", next_section(results));
  section("data", "Data", data_section(results, pictures));
  section("checks", "Leak checks", checks_section(results, pictures));
  section("methods", "Methods", methods_section(results) + knn_section(results));
  section("comparisons", "Differences between methods", comparisons_section(results));
  section("classes", "Classes", classes_section(results));
  if (const Html decision = decision_section(results); !decision.code.empty()) section("decision", "Decision rule", decision);
  if (const Html ordered = ordered_section(results); !ordered.code.empty()) section("ordered", "Ordered classes", ordered);
  if (const Html labels = multi_label_section(results, pictures, table("multi_label")); !labels.code.empty())
    section("multi-label", "Several labels an image", labels);
  if (const Html subgroups = subgroups_section(results); !subgroups.code.empty()) section("subgroups", "Subgroups", subgroups);
  section("confusion", "Confusions", confusion_section(results, pictures, results.chosen() ? table(results.chosen()->protocol) : ""));
  section("rare", "Rare classes", ranking_section(results));
  section("neighbours", "Nearest neighbours", neighbours_section(results, pictures));
  section("labels", "Suspected label errors", suspicions_section(results, pictures));
  section("shots", "Few-shot", shots_section(results));
  section("zero", "Clustering and retrieval", clustering_section(results));
  section("calibration", "Calibration", calibration_section(results));
  section("health", "Feature health", health_section(results));
  section("map", "Map of the test images", map_section(results, table("map")));
  section("pictures", "Feature images", feature_pictures_section(results, feature_pictures));
  section("dense", "Segmentation and matching", dense_section(results));
  if (const Html other = other_protocols_section(results); !other.code.empty()) section("other", "Further results", other);
  section("not-run", "Not run", not_run(results));
  section("protocol", "Protocols", protocol_section(results));
  section("provenance", "Provenance", provenance_section(results));
  return page.html();
}

fs::path write_eval_report(const fs::path& folder, const std::optional<fs::path>& data) {
  const fs::path file = folder / "results.json";
  if (!fs::exists(file))
    fail_usage(folder.string(), "a folder of \"dinoxx eval\" with results.json", fs::exists(folder) ? "none" : "no such folder",
               "Name its --out.");
  const json results = json::parse(read_text(file), nullptr, /*allow_exceptions=*/false);
  if (const std::string format = text_of(results, "format"); format != "dinoxx results") {
    const bool own = format == "dinoxx propagate" || format == "dinoxx match";
    fail_usage(file.string(), "results of \"dinoxx eval\", which have a page",
               results.is_discarded() ? "no JSON"
               : own                  ? fmt::format("results of \"{}\", which have no page", format)
                                      : "another file",
               own ? "The table that the command printed is in it; read it as it is." : "Evaluate again.");
  }
  std::shared_ptr<const Dataset> dataset;
  if (data) {
    dataset = Dataset::open(*data);
    if (const std::string expected = text_of(at(results, {"data"}), "fingerprint"); dataset->fingerprint() != expected)
      fail_usage("--data", fmt::format("the data set {} that was evaluated", expected), dataset->fingerprint(),
                 "Name that folder, or none.");
    dataset = as_evaluated(std::move(dataset), results);
  }
  std::map<std::string, std::string> tables;
  const json& suites = at(results, {"suites"});
  if (suites.is_object()) {
    for (const auto& [key, suite] : suites.items()) {
      std::string name = text_of(suite, "predictions");
      if (const json& first = elements(at(suite, {"results"})); name.empty() && !first.empty()) name = text_of(first[0], "predictions");
      const fs::path table = fs::path(name).filename();
      if (!table.empty() && fs::exists(folder / table)) tables[key] = read_text(folder / table);
    }
  }
  if (const fs::path map = fs::path(text_of(at(results, {"evidence", "map"}), "file")).filename(); !map.empty() && fs::exists(folder / map))
    tables["map"] = read_text(folder / map);
  std::map<std::string, std::string> pictures;
  for (const json& image : elements(at(results, {"evidence", "pictures", "images"})))
    each_string(at(image, {"files"}), [&](const std::string& name) {
      if (fs::path(name).filename() == name && fs::is_regular_file(folder / name)) pictures[name] = read_text(folder / name);
    });
  const fs::path report = folder / "report.html";
  write_file_atomically(report, eval_report_html(results, std::move(dataset), tables, pictures));
  return report;
}

}  // namespace dinoxx::report
