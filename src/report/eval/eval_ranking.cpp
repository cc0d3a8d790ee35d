#include <fmt/format.h>

#include "eval_sections.hpp"
#include "report/run/run_charts.hpp"
#include "report/run/run_figures.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

// The verdict's method, or the first of the checkpoint that has curves.
const Method* method_with_curves(const Results& results) {
  const auto has = [](const Method& method) { return at(*method.scores, {"ranking_curves"}).is_object(); };
  if (results.chosen() && has(*results.chosen())) return results.chosen();
  for (const Method& method : results.methods())
    if (has(method)) return &method;
  return nullptr;
}

Series curve_of(const json& row, const char* key) {
  Series series{text_of(row, "name") + ", " + figure(number_of(row, "memory"), 9) + " training images", {}};
  for (const json& point : elements(at(row, {key})))
    if (elements(point).size() == 2) series.points.push_back({number_or_nan(point[0]), number_or_nan(point[1]), {}, {}, ""});
  return series;
}

Chart unit_chart(const char* title, const char* x, const char* y) {
  Chart chart{title, x, y, {}};
  chart.low = chart.x_low = 0;
  chart.high = chart.x_high = 1;
  chart.marks = false;
  return chart;
}

}  // namespace

Html ranking_section(const Results& results) {
  const Method* method = method_with_curves(results);
  if (!method) return {};
  const json& curves = at(*method->scores, {"ranking_curves"});
  Chart roc = unit_chart("ROC", "false positive rate: share of other images predicted as the class", "recall; the diagonal is chance"),
        pr = unit_chart("Precision and recall", "recall", "precision");
  roc.diagonal = true;
  Table areas("Rare classes against all others", {"class", "training images", "test images", "AUROC", "average precision"});
  Table points(
      "Effect of a threshold on the predicted probability, measured on the test images: choose the threshold that you use on other images",
      {"class", "wanted recall", "threshold", "recall", "precision", "false positive rate", "images above"});
  for (const json& row : elements(at(curves, {"classes"}))) {
    roc.series.push_back(curve_of(row, "roc"));
    pr.series.push_back(curve_of(row, "pr"));
    areas.add({words(text_of(row, "name")), count(row, "memory"), count(row, "queries"), share(row, "auroc"), share(row, "auprc")});
    for (const json& point : elements(at(row, {"operating_points"})))
      points.add({words(text_of(row, "name")), share(point, "recall_at_least"), plain(point, "threshold"), share(point, "recall"),
                  share(point, "precision"), share(point, "false_positive_rate"), count(point, "answers")});
  }
  if (areas.empty()) return {};
  Html body = paragraph(method->name() + ", features of the " + features_name(method->embedder) + ": " + text_of(curves, "rule") + ".");
  body += figures({figure_of(roc), figure_of(pr)}) + areas.html();
  return points.empty() ? body : body + details("Thresholds", points.html());
}

}  // namespace dinoxx::report
