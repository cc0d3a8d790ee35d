#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <sstream>

#include "base/csv.hpp"
#include "dinoxx/base/error.hpp"
#include "eval_sections.hpp"
#include "report/run/run_figures.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

constexpr size_t kRowsShown = 60;      // of a table over classes; the rest is folded away
constexpr size_t kMatrixClasses = 40;  // above this a confusion matrix cannot be read
constexpr size_t kPairsShown = 12;

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

struct Confused {
  std::string label, predicted;
  double images;
};

// "confusion": rows of a matrix, or a list of {"class", "predicted", "images"} of what happened at all.
std::vector<Confused> confusions(const json& scores, const json& classes) {
  std::vector<Confused> all;
  const json& confusion = elements(at(scores, {"confusion"}));
  for (size_t r = 0; r < confusion.size(); ++r) {
    const json& row = confusion[r];
    if (row.is_object()) {
      all.push_back({text_of(row, "class"), text_of(row, "predicted"), number_of(row, "images")});
      continue;
    }
    for (size_t c = 0; c < elements(row).size() && r < classes.size() && c < classes.size(); ++c)
      if (const double images = number_or_nan(row[c]); images > 0)
        all.push_back({text_of(classes[r], "name"), text_of(classes[c], "name"), images});
  }
  return all;
}

Html matrix(const std::vector<Confused>& all, const json& classes) {
  std::map<std::pair<std::string, std::string>, double> images;
  std::map<std::string, double> of_class;
  for (const Confused& c : all) {
    images[{c.label, c.predicted}] += c.images;
    of_class[c.label] += c.images;
  }
  const std::vector<const json*> order = by_training_images(classes);
  std::vector<std::string> headings{"class"};
  for (const json* row : order) headings.push_back(text_of(*row, "name"));
  Table table(
      "Test images of the class in the row that were given the name of the column, classes of most training images first; the colour is "
      "the share of the row",
      headings);
  for (const json* row : order) {
    const std::string label = text_of(*row, "name");
    std::vector<Cell> cells{words(label)};
    for (const json* column : order) {
      const auto found = images.find({label, text_of(*column, "name")});
      if (found == images.end()) {
        cells.push_back(words(""));
        continue;
      }
      cells.push_back(
          {element("span", text(figure(found->second, 9)),
                   fmt::format("style=\"background:rgba(var(--heat),{:.2f});display:block\"", 0.65 * found->second / of_class[label])),
           false, ""});
    }
    table.add(cells);
  }
  return element("div", table.html(), "class=\"heat\"");
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

Html confusion_section(const Results& results) {
  if (!results.chosen()) return {};
  const json& scores = *results.chosen()->scores;
  const json& classes = elements(at(scores, {"classes"}));
  std::vector<Confused> all = confusions(scores, classes);
  if (all.empty()) return {};
  Html body;
  if (classes.size() <= kMatrixClasses) body += matrix(all, classes);
  std::erase_if(all, [](const Confused& c) { return c.label == c.predicted; });
  std::stable_sort(all.begin(), all.end(), [](const Confused& a, const Confused& b) { return a.images > b.images; });
  Table table("The most frequent confusions", {"class", "predicted", "test images"});
  for (size_t i = 0; i < std::min(all.size(), kPairsShown); ++i)
    table.add({words(all[i].label), words(all[i].predicted), number(figure(all[i].images, 9))});
  return table.empty() ? body + paragraph("No test image was misclassified.") : body + table.html();
}

Html misses_section(const Results& results, const Thumbnails& pictures, const std::string& predictions) {
  if (!results.chosen() || !pictures.available() || predictions.empty()) return {};
  CsvTable table;
  try {
    table = parse_csv(predictions, "predictions");
  } catch (const Error&) {  // a file that was cut off: the page does without it
  }
  if (table.rows.empty()) return {};
  const std::vector<std::string>& heading = table.rows.front();
  const auto column = [&](const std::string& name) {
    return static_cast<size_t>(std::find(heading.begin(), heading.end(), name) - heading.begin());
  };
  const size_t key = column("key"), label = column("label"), answer = column(results.chosen()->embedder + ":" + results.chosen()->method);
  if (std::max({key, label, answer}) >= heading.size()) return {};
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> misses;
  for (const std::vector<std::string>& fields : table.rows) {
    if (&fields == &heading) continue;
    if (fields.size() == heading.size() && fields[label] != fields[answer]) misses[{fields[label], fields[answer]}].push_back(fields[key]);
  }
  std::vector<std::pair<std::pair<std::string, std::string>, std::vector<std::string>>> order(misses.begin(), misses.end());
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.second.size() > b.second.size(); });
  constexpr size_t kPairs = 10, kOfPair = 3;
  Html items;
  for (size_t i = 0; i < std::min(order.size(), kPairs); ++i)
    for (size_t j = 0; j < std::min(order[i].second.size(), kOfPair); ++j)
      items += pictures.item(order[i].second[j], text(fmt::format("{}, predicted {}", order[i].first.first, order[i].first.second)));
  if (items.code.empty()) return {};
  return paragraph(fmt::format("Test images that {} got wrong, up to three of each of the most frequent confusions. Look for labels that "
                               "are wrong themselves.",
                               results.chosen()->name())) +
         gallery(items);
}

}  // namespace dinoxx::report
