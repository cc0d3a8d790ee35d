#include <fmt/format.h>

#include <algorithm>

#include "multi_label.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

// More labels than this are left to results.json and the report.
constexpr size_t kLabelsShown = 40;

std::string percent(const json& object, const char* key) {
  const json value = object.value(key, json());
  return value.is_number() ? fmt::format("{:.2f}", 100 * value.get<double>()) : "-";
}

std::string interval(const json& scores, const char* key) {
  const json range = scores.value("bootstrap95", json::object()).value(key, json());
  return range.is_array() ? fmt::format("{:.2f}-{:.2f}", 100 * range[0].get<double>(), 100 * range[1].get<double>()) : "-";
}

std::string labels_of(const json& result) {
  size_t width = 5;
  for (const json& row : result["labels"]) width = std::max(width, row["name"].get<std::string>().size());
  std::string text =
      fmt::format("  {:<{}}{:>9}{:>9}{:>9}{:>9}{:>16}{:>9}{:>11}{:>11}{:>9}{:>9}   ({}, logistic)\n", "label", width, "train", "test",
                  "share", "AP", "95 %", "AUROC", "threshold", "precision", "recall", "F1", result["name"].get<std::string>());
  for (const json& row : result["labels"]) {
    const json scores = row.value("logistic", json::object());
    text += fmt::format("  {:<{}}{:>9}{:>9}{:>9}{:>9}{:>16}{:>9}{:>11}{:>11}{:>9}{:>9}\n", row["name"].get<std::string>(), width,
                        row["memory"]["yes"].get<int64_t>(), row["queries"]["yes"].get<int64_t>(), percent(row, "share"),
                        percent(scores, "average_precision"), interval(scores, "average_precision"), percent(scores, "auroc"),
                        row.contains("threshold") ? fmt::format("{:.4f}", row["threshold"].get<double>()) : "-",
                        percent(scores, "precision"), percent(scores, "recall"), percent(scores, "f1"));
  }
  return text;
}

}  // namespace

std::string multi_label_table(const json& suite) {
  std::string text;
  for (const json& result : suite["results"]) {
    if (!result.contains("scores")) continue;
    if (text.empty())
      text = fmt::format(
          "several labels an image, {} labels, in %; mean average precision with its bootstrap interval\n  {:<12}{:<12}{:>9}{:>16}"
          "{:>13}{:>10}{:>10}{:>12}\n",
          result["labels"].size(), "", "method", "mAP", "95 %", "macro AUROC", "macro F1", "micro F1", "all right");
    for (const auto& [method, scores] : result["scores"].items())
      text += fmt::format("  {:<12}{:<12}{:>9}{:>16}{:>13}{:>10}{:>10}{:>12}\n", result["name"].get<std::string>(), method,
                          percent(scores, "map"), interval(scores, "map"), percent(scores, "macro_auroc"), percent(scores, "macro_f1"),
                          percent(scores, "micro_f1"), percent(scores, "exact"));
  }
  if (text.empty()) return text;
  const json& first = suite["results"][0];
  text += fmt::format("  {:<12}{:<12}{:>9}\n", "", "chance", percent(first["chance"], "map"));
  if (first["labels"].size() <= kLabelsShown) text += labels_of(first);
  for (const json& note : first["notes"]) text += fmt::format("  note: {}\n", note.get<std::string>());
  return text;
}

}  // namespace dinoxx::eval
