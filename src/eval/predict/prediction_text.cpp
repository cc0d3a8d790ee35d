#include <fmt/format.h>

#include <algorithm>

#include "eval/decision/decision_scores.hpp"
#include "eval/multi_label/multi_label.hpp"
#include "eval/statistics/statistics.hpp"
#include "model/weights/facts.hpp"
#include "predict.hpp"
#include "validation_scores.hpp"

namespace dinoxx::eval {
namespace {

using nlohmann::json;

constexpr size_t kListed = 10;  // unreadable images on the terminal

}  // namespace

std::string prediction_text(const json& summary) {
  const json& head = summary["head"];
  const bool labels = head["method"] == kMultiLabelKey;
  const std::string by = labels ? fmt::format("a logistic regression of each of {} labels on {} training images, C = {:g}",
                                              summary["classes"].size(), head["training_images"].get<int64_t>(), head["C"].get<double>())
                         : head.contains("finetuned")
                             ? fmt::format("the head that {} tuned with the network", head["finetuned"]["method"].get<std::string>())
                             : fmt::format("logistic regression ({}) on {} training images, C = {:g}", head["method"].get<std::string>(),
                                           head["training_images"].get<int64_t>(), head["C"].get<double>());
  const bool classified = summary.contains("images");
  std::string text = classified ? fmt::format("{} images classified by {}", summary["images"]["read"].get<int64_t>(), by) : by;
  if (head["temperature"].is_number()) {
    text += fmt::format(", probabilities calibrated by temperature {:.3g}\n", head["temperature"].get<double>());
  } else if (labels) {
    text += "\n";
  } else {
    text += fmt::format("\nprobabilities are not calibrated: {}\n", head["undefined"]["temperature"].get<std::string>());
  }
  if (head.contains("repeated_folds") && head["repeated_folds"]["interval95"].is_array()) {
    const json& range = head["repeated_folds"]["interval95"];
    text += fmt::format("balanced accuracy in cross-validation of these training images: {:.1f} % ({:.1f} to {:.1f})\n",
                        100 * head["repeated_folds"]["mean"].get<double>(), 100 * range[0].get<double>(), 100 * range[1].get<double>());
  }
  if (const std::string score = validation_text(head.value("validation", json())); !score.empty()) text += score + "\n";
  const json& decision = summary["decision"];
  for (const std::string& line : rule_lines(decision["rule"])) text += line + "\n";
  for (const std::string& line : decision_lines(decision["validation"], decision["rule"], "validation")) text += line + "\n";
  if (head.contains("features")) text += fmt::format("features: {}\n", head["features"].get<std::string>());
  text += fmt::format("facts of the network and its input: {}\n", facts_text(summary["checkpoint"]["facts"]));
  for (const json& note : summary["checkpoint"]["notes"]) text += fmt::format("note: {}\n", note.get<std::string>());
  const json kept = summary["run"].value("head", json::object());
  if (kept.value("stored_before", false)) text += fmt::format("the head is that of an earlier call: {}\n", kept["file"].get<std::string>());
  if (kept.contains("not_kept")) text += fmt::format("the head is not kept for the next call: {}\n", kept["not_kept"].get<std::string>());
  const json images = summary.value("images", json::object()), unknown = images.value("unknown", json::array());
  for (size_t i = 0; i < std::min(kListed, unknown.size()); ++i)
    text += fmt::format("unknown: {}: unlike every training image (distance {:.3g}), not answered\n", unknown[i]["path"].get<std::string>(),
                        unknown[i]["distance"].get<double>());
  if (unknown.size() > kListed) text += fmt::format("unknown: {} more, in the table\n", unknown.size() - kListed);
  if (summary["known"]["up_to_distance"].is_null()) text += "unknown images are not recognised: too few training images to tell by\n";
  const json unreadable = images.value("unreadable", json::array());
  for (size_t i = 0; i < std::min(kListed, unreadable.size()); ++i)
    text += fmt::format("unreadable: {}: {}\n", unreadable[i]["path"].get<std::string>(), unreadable[i]["error"].get<std::string>());
  if (unreadable.size() > kListed) text += fmt::format("unreadable: {} more, in the table\n", unreadable.size() - kListed);
  for (const json& of_class : summary["classes"]) {
    const int64_t count = of_class["training_images"].get<int64_t>();
    if (count >= kFewBelow) continue;
    text += fmt::format("unreliable: {}: {} training images{}{}\n", of_class["name"].get<std::string>(), count,
                        count == 0 ? " (never predicted)" : "",
                        classified ? fmt::format(", {} predicted", of_class["predicted"].get<int64_t>()) : "");
  }
  return text;
}

}  // namespace dinoxx::eval
