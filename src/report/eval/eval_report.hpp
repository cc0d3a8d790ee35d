#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "dinoxx/data_pipeline/dataset.hpp"

namespace dinoxx::report {

/// A page on one evaluation: verdict, data card, methods, classes, learning curves, calibration, checks, provenance. Every number in it
/// comes from `results`, the content of results.json; sections that it lacks are named as not run. Stands alone: no script, no resource
/// from anywhere. `dataset` gives images; `tables`, by key of the protocol the text of predictions_*.csv, says which images were
/// mistaken, and by "map" that of feature_map.csv; `images`, by name the PNGs that results.json mentions.
std::string eval_report_html(const nlohmann::json& results, std::shared_ptr<const Dataset> dataset = nullptr,
                             const std::map<std::string, std::string>& tables = {},
                             const std::map<std::string, std::string>& pictures = {});

/// Reads results.json of `folder` and the CSVs and PNGs that it names, writes report.html beside it (by rename) and returns its path.
/// `data`: the packed images, for images. UsageError: no results.json there, none of dinoxx, or `data` is another data set than that of the
/// results.
std::filesystem::path write_eval_report(const std::filesystem::path& folder,
                                        const std::optional<std::filesystem::path>& data = std::nullopt);

}  // namespace dinoxx::report
