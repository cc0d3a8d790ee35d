#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "eval_sections.hpp"
#include "report/run/run_figures.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

constexpr size_t kRowsShown = 60;  // of a table over classes; the rest is folded away

// Recall between its Wilson bounds as a bar; the numbers stand in the cell before it.
Html range(const json& row) {
  const json& interval = at(row, {"interval95"});
  const double recall = number_of(row, "recall");
  if (std::isnan(recall) || interval_text(interval).empty()) return {};
  const double low = 100 * interval[0].get<double>(), high = 100 * interval[1].get<double>();
  return {
      fmt::format("<svg class=\"range\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><path class=\"grid\" "
                  "d=\"M0 5H100M50 0V10\"/>"
                  "<path class=\"s0 l\" d=\"M{:.1f} 5H{:.1f}\"/><path class=\"s0 l\" d=\"M{:.1f} 1V9\"/></svg>",
                  low, high, 100 * recall)};
}

Html chart_of_classes(const json& classes) {
  Chart chart{"Recall of each class",
              "training images of the class",
              "recall: share of its test images that are classified correctly, with Wilson's 95 % interval",
              {{"classes", {}}}};
  chart.dots = chart.log_x = chart.percent = true;
  chart.low = 0;
  chart.high = 1;
  for (const json& row : classes) {
    Point point{number_of(row, "memory"), number_of(row, "recall"), {}, {}, ""};
    if (const json& interval = at(row, {"interval95"}); !interval_text(interval).empty()) {
      point.low = interval[0].get<double>();
      point.high = interval[1].get<double>();
    }
    if (classes.size() <= 500) point.label = text_of(row, "name") + ": " + share_text(at(row, {"recall"}), at(row, {"interval95"}));
    chart.series[0].points.push_back(std::move(point));
  }
  return figure_of(chart);
}

Html class_table(const std::string& caption, const std::vector<const json*>& rows) {
  Table table(caption,
              {"class", "training images", "test images", "recall", "0 to 100 %", "precision", "F1", "AUROC", "AUPRC", "reliable"});
  for (const json* row : rows) {
    table.add({words(text_of(*row, "name")),
               count(*row, "memory"),
               count(*row, "queries"),
               share(*row, "recall", at(*row, {"interval95"})),
               {range(*row), false, ""},
               share(*row, "precision", at(*row, {"precision95"})),
               share(*row, "f1"),
               share(*row, "auroc"),
               share(*row, "auprc"),
               {text(doubts_text(*row)), false, doubts_of(*row).empty() ? "good" : "bad"}});
  }
  return table.html();
}

}  // namespace

Html classes_section(const Results& results) {
  if (!results.chosen()) return {};
  const json& classes = elements(at(*results.chosen()->scores, {"classes"}));
  if (classes.empty()) return {};
  std::vector<const json*> rows;
  for (const json& row : classes) rows.push_back(&row);
  Html body = element("div", chart_of_classes(classes), "class=\"figures\"");
  const std::string caption = fmt::format("Classes by {}, features of the {}; scores in %, [95 % interval]", results.chosen()->name(),
                                          features_name(results.chosen()->embedder));
  if (rows.size() <= kRowsShown) return body + class_table(caption, rows);
  std::vector<const json*> worst = rows;
  const auto recall = [](const json* row) { return number_of(*row, "recall"); };
  std::erase_if(worst, [&](const json* row) { return std::isnan(recall(row)); });
  std::stable_sort(worst.begin(), worst.end(), [&](const json* a, const json* b) { return recall(a) < recall(b); });
  worst.resize(std::min(worst.size(), kRowsShown));
  body += class_table(fmt::format("The {} classes of lowest recall. {}", worst.size(), caption), worst);
  return body + details(fmt::format("all {} classes", rows.size()), class_table(caption, rows));
}

}  // namespace dinoxx::report
