// The user's rule of decision beside the most probable class.
#include <fmt/format.h>

#include "report/eval/eval_sections.hpp"
#include "report/run/run_figures.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

bool is_recall(const json& rule) {
  return text_of(rule, "kind") == "recall";
}

Html rule_text(const json& rule) {
  if (!is_recall(rule)) return paragraph("The class of least expected cost under the calibrated probabilities.");
  const std::string name = text_of(rule, "class");
  std::vector<Html> rows{
      text(fmt::format("{} from the probability {} on, for a recall of {} %; else the most probable other class.", name,
                       figure(number_of(rule, "threshold")), percent(number_of(rule, "wanted_recall")))),
      text(fmt::format(
          "The threshold was chosen on {} images of {} ({}), of which it finds {}: with {} % confidence at least {} % of new ones.",
          figure(number_of(rule, "images"), 9), name, text_of(rule, "chosen_on"), figure(number_of(rule, "found"), 9),
          figure(100 * number_of(rule, "confidence_of_bound")), percent(number_of(rule, "recall_at_least"))))};
  if (const std::string note = text_of(rule, "note"); !note.empty()) rows.push_back(text("Note: " + note + "."));
  return list(rows);
}

// Images that choose the threshold, and test images, each by the rule and without it.
Html figures_table(const json& decision) {
  const json& rule = at(decision, {"rule"});
  std::vector<std::string> headings{"images", "answer"};
  const std::string name = text_of(rule, "class");
  if (is_recall(rule)) {
    for (const char* what : {"recall of ", "precision of ", "images answered "}) headings.push_back(what + name);
  } else {
    headings.emplace_back("mean cost of an image");
  }
  headings.insert(headings.end(), {"accuracy", "balanced accuracy"});
  Table table("Effect of the rule in %, with 95 % intervals", headings);
  for (const auto& [place, called] : {std::pair("test", "test"), std::pair("validation", "validation (the rule was chosen there)")}) {
    for (const auto& [way, words_of_way] : {std::pair("rule", "by the rule"), std::pair("argmax", "most probable class")}) {
      const json& figures = at(decision, {place, way});
      if (!figures.is_object()) continue;
      const auto cell = [&](const char* key) { return share(figures, key, at(figures, {"interval95", key})); };
      std::vector<Cell> row{words(called), words(words_of_way)};
      if (is_recall(rule)) {
        for (const char* key : {"recall", "precision", "answered_share"}) row.push_back(cell(key));
      } else {
        Cell cost = plain(figures, "mean_cost");
        const json& interval = at(figures, {"interval95", "mean_cost"});
        if (elements(interval).size() == 2)
          cost.body += text(fmt::format(" [{}, {}]", figure(number_or_nan(interval[0]), 3), figure(number_or_nan(interval[1]), 3)));
        row.push_back(cost);
      }
      for (const char* key : {"accuracy", "balanced_accuracy"}) row.push_back(cell(key));
      table.add(row);
    }
  }
  return table.empty() ? Html{} : table.html();
}

Html class_table(const json& classes) {
  Table table("Classes of the test images by the rule, and by the most probable class",
              {"class", "test images", "answered", "recall", "precision", "most probable: answered", "recall", "precision"});
  for (const json& row : elements(classes))
    table.add({words(text_of(row, "name")), count(row, "images"), count(row, "answered"), share(row, "recall"), share(row, "precision"),
               count(row, "argmax_answered"), share(row, "argmax_recall"), share(row, "argmax_precision")});
  return table.empty() ? Html{} : details("Classes by the rule", table.html());
}

}  // namespace

Html decision_section(const Results& results) {
  Html body;
  for (const Method& method : results.methods()) {
    const json& decision = at(*method.scores, {"decision"});
    if (!decision.is_object() || method.embedder != results.checkpoint()) continue;
    body += paragraph(method.name() + ", features of the " + features_name(method.embedder) + ":");
    body += rule_text(at(decision, {"rule"})) + figures_table(decision) + class_table(at(decision, {"test", "classes"}));
  }
  return body;
}

}  // namespace dinoxx::report
