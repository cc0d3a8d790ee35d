#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "eval/run/eval_data.hpp"

/// Labels that contradict each other, seen without any feature.
namespace dinoxx::eval {

/// Fills checks["class_names"] = {"pairs": [[name, name]]}: names that differ only in upper and lower case, blanks, hyphens and
/// underscores; checks["label_conflicts"] = {"pictures", "images", "examples": [[{image, split, label}]]}: identical pixels under several
/// labels, of all labelled images; and checks["warnings"], also where all queries are of one class. Adds the conflicts to `csv`, in the
/// columns of label_suspicions().
void check_labels(const Dataset& dataset, const EvalData& data, nlohmann::json& checks, std::string& csv);

/// The columns of suspects.csv.
inline constexpr const char* kSuspectsHeading = "image,split,label,suggested,why,other_image\n";

/// The same images with the labels that are meant; where asked, classes of one name (as above) are one, called as the one of most images.
/// `dataset` itself where that changes nothing. UsageError: no such column.
std::shared_ptr<const Dataset> chosen_labels(std::shared_ptr<const Dataset> dataset, const LabelChoice& choice);

}  // namespace dinoxx::eval
