#include <fmt/ranges.h>

#include <cmath>

#include "comparison_pages.hpp"
#include "comparison_view.hpp"
#include "report/eval/results_view.hpp"
#include "report/page/chart.hpp"
#include "report/page/html.hpp"
#include "report/run/run_charts.hpp"
#include "report/run/run_figures.hpp"
#include "results/protocol_names.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;
using Answer = ComparisonView::Answer;

std::string method_words(const json& of) {
  return method_name(text_of(of, "protocol"), text_of(of, "method"));
}

Html soft(const std::string& words) {
  return element("p", text(words), "class=\"soft\"");
}

Html verdict(const ComparisonView& view) {
  const ComparisonVerdict verdict = comparison_verdict(view);
  Html body;
  for (size_t i = 0; i < verdict.answer.size(); ++i)
    body += i == 0 ? element("p", element("strong", text(verdict.answer[i]))) : paragraph(verdict.answer[i]);
  body = element("div", body, "class=\"verdict\"");
  std::vector<Html> limits;
  for (const std::string& sentence : verdict.limits) limits.push_back(text(sentence));
  if (!limits.empty()) body += element("h3", text("What this does not say")) + list(limits);
  std::vector<Html> notes;
  for (const json& note : elements(at(view.all(), {"notes"})))
    if (note.is_string()) notes.push_back(text(note.get<std::string>()));
  for (const json& left : elements(at(view.all(), {"left_out"})))
    notes.push_back(text(fmt::format("{} is not compared: {}", eval::protocol_word(text_of(left, "protocol")), text_of(left, "why"))));
  return notes.empty() ? body : body + element("h3", text("Notes")) + list(notes);
}

Html checkpoints(const ComparisonView& view) {
  Table cost("Checkpoints and what they cost; times in minutes",
             {"checkpoint", "network", "parameters, millions", "features", "input", "images a second and thread", "embed", "fit", "total"});
  Table files("Where they are from", {"checkpoint", "file", "checksum", "step", "precision", "features taken", "folder"});
  for (size_t i = 0; i < view.size(); ++i) {
    const json& checkpoint = at(view.all(), {"checkpoints"})[i];
    const json& own = at(checkpoint, {"cost"});
    const double parameters = number_of(checkpoint, "parameters");
    cost.add({words(view.name(i)), words(view.network(i)), number(std::isnan(parameters) ? "-" : fmt::format("{:.2f}", 1e-6 * parameters)),
              count(checkpoint, "feature_dim"), words(text_of(checkpoint, "transform")),
              number(figure(number_of(own, "images_per_core_second"), 3)), number(minutes(at(own, {"embed_seconds"}))),
              number(minutes(at(own, {"fit_seconds"}))), number(minutes(at(own, {"total_seconds"})))});
    files.add({words(view.name(i)), words(text_of(checkpoint, "file")), words(text_of(checkpoint, "crc32c")),
               number(figure(number_of(checkpoint, "step"), 9)), words(text_of(checkpoint, "precision")),
               words(text_of(checkpoint, "features")), words(text_of(checkpoint, "folder"))});
  }
  Html body = cost.html();
  for (const std::string& note : cost_notes(view.all())) body += soft(note);
  return body + details("Files", files.html());
}

// Balanced accuracy with its interval, and what the tests say of it beside the highest of its row.
Cell balanced_cell(const ComparisonView& view, const json& method, size_t i) {
  const json& own = at(method, {"scores"})[i];
  Cell cell = share(own, "balanced_accuracy", at(own, {"balanced95"}));
  const json& order = elements(at(method, {"order"}));
  if (!at(own, {"balanced_accuracy"}).is_number() || order.empty()) return cell;
  const auto best = order[0].get<size_t>();
  if (best == i) {
    cell.body += text(" (highest)");
    cell.css = "good";
    return cell;
  }
  const Answer answer = view.answer(method, best, i);
  if (answer == Answer::kBetter) {
    cell.body += text(" (worse)");
    cell.css = "bad";
  } else if (answer != Answer::kNone) {
    cell.body += text(" (by one test)");
  }
  return cell;
}

Html scores(const ComparisonView& view) {
  std::vector<std::string> headings{"method"};
  for (const std::string& name : view.names()) headings.push_back(name);
  Table balanced("Balanced accuracy in %, [95 % interval: bootstrap of the test images]", headings);
  Table accuracy("Accuracy in %, [95 % interval: Wilson]", headings);
  for (const json& method : elements(at(view.all(), {"methods"}))) {
    std::vector<Cell> first{words(method_words(method))}, second = first;
    for (size_t i = 0; i < view.size(); ++i) {
      const json& own = at(method, {"scores"})[i];
      first.push_back(balanced_cell(view, method, i));
      second.push_back(share(own, "accuracy", at(own, {"interval95"})));
    }
    balanced.add(first);
    accuracy.add(second);
  }
  if (balanced.empty()) return paragraph("No method that answers every test image was run for all.");
  Chart chart{"Balanced accuracy", "method, in the order of the table", "share; bars: 95 % interval", {}};
  chart.dots = chart.percent = true;
  for (size_t i = 0; i < view.size(); ++i) {
    chart.series.push_back({view.name(i), {}});
    double x = 1;
    for (const json& method : elements(at(view.all(), {"methods"}))) {
      const json& own = at(method, {"scores"})[i];
      const double shift = 0.5 * ((static_cast<double>(i) + 0.5) / static_cast<double>(view.size()) - 0.5);
      Point point{x + shift, number_of(own, "balanced_accuracy"), {}, {}, view.name(i) + ", " + method_words(method)};
      if (const json& interval = at(own, {"balanced95"}); !interval_text(interval).empty()) {
        point.low = interval[0].get<double>();
        point.high = interval[1].get<double>();
      }
      chart.series.back().points.push_back(point);
      ++x;
    }
  }
  return figures({figure_of(chart)}) + balanced.html() +
         soft(
             "highest: of its row. worse: than the highest, by both tests. by one test: by one of the two alone. Without a word: cannot be "
             "told apart from the highest.") +
         accuracy.html();
}

Html pairs_of(const ComparisonView& view, const json& method) {
  Table table(fmt::format("By {}: first minus second in percentage points with 95 % interval; p after Holm's correction for the pairs",
                          method_words(method)),
              {"first", "second", "balanced accuracy", "p, bootstrap", "accuracy", "only first right", "only second right", "p, McNemar",
               "answer"});
  for (const json& pair : elements(at(method, {"pairs"}))) {
    const json &balanced = at(pair, {"balanced_accuracy"}), &accuracy = at(pair, {"accuracy"});
    const auto first = at(pair, {"first"}).get<size_t>(), second = at(pair, {"second"}).get<size_t>();
    std::string answer = "cannot be told apart";
    switch (view.answer(method, first, second)) {
      case Answer::kBetter:
        answer = view.name(first) + " is better";
        break;
      case Answer::kWorse:
        answer = view.name(second) + " is better";
        break;
      case Answer::kAccuracyAlone:
        answer = "undecided: accuracy alone differs";
        break;
      case Answer::kBalancedAlone:
        answer = "undecided: balanced accuracy alone differs";
        break;
      case Answer::kOpposite:
        answer = "undecided: the two scores favour different checkpoints";
        break;
      case Answer::kNone:
        break;
    }
    table.add({words(view.name(first)), words(view.name(second)), number(difference_text(balanced, true)),
               number(p_text(at(balanced, {"p_holm"}))), number(difference_text(accuracy, true)), count(accuracy, "only_first_right"),
               count(accuracy, "only_second_right"), number(p_text(at(accuracy, {"p_holm"}))), words(answer)});
  }
  return table.empty() ? Html{} : table.html();
}

Html differences(const ComparisonView& view) {
  const json& chosen = view.chosen();
  Html body = pairs_of(view, chosen), others;
  for (const json& method : elements(at(view.all(), {"methods"})))
    if (&method != &chosen) others += pairs_of(view, method);
  if (!others.code.empty()) body += details("The same by the other methods", others);
  return body.code.empty() ? paragraph("No pairs: no method that answers every test image was run for all.") : body;
}

Html classes(const ComparisonView& view) {
  const json& of = at(view.all(), {"classes"});
  std::vector<std::string> headings{"class", "training images", "test images"};
  for (const std::string& name : view.names()) headings.push_back(name);
  std::vector<std::string> tested = headings;
  tested.emplace_back("told apart");
  Table rare(fmt::format("Rare classes by {}: right answers; McNemar's test of each pair, p after Holm's correction for all of this table",
                         method_words(of)),
             tested);
  Table all("All classes, those of fewest training images first: right answers", headings);
  for (const json& row : elements(at(of, {"classes"}))) {
    std::vector<Cell> cells{words(text_of(row, "name")), count(row, "memory"), count(row, "queries")};
    for (const json& correct : elements(at(row, {"correct"}))) cells.push_back(number(figure(number_or_nan(correct), 9)));
    all.add(cells);
    if (at(row, {"rare"}) != true) continue;
    cells.push_back(words(told_apart(view, row)));
    rare.add(cells);
  }
  if (all.empty()) return paragraph("No scores of classes: none of the methods that a verdict is based on was run for all.");
  Html body;
  if (!rare.empty()) body += rare.html();
  const json& together = at(of, {"rare"});
  if (number_of(together, "queries") > 0) {
    std::vector<std::string> counts;
    for (size_t i = 0; i < elements(at(together, {"correct"})).size() && i < view.size(); ++i)
      counts.push_back(fmt::format("{} {}", view.name(i), figure(number_or_nan(at(together, {"correct"})[i]), 9)));
    body += paragraph(fmt::format("All of them together, {} test images: {}; {}.", figure(number_of(together, "queries"), 9),
                                  fmt::format("{}", fmt::join(counts, ", ")), told_apart(view, together)));
  }
  body += soft(
      "Rare: the third of the classes with test images that has the fewest training images, at most ten. With few test images only "
      "large differences can be seen; a class in which none are told apart is no class in which they are equal.");
  return body + details("All classes", all.html());
}

Html other_figures(const ComparisonView& view) {
  std::vector<std::string> headings{"figure"};
  for (const std::string& name : view.names()) headings.push_back(name);
  headings.emplace_back("interval over");
  headings.emplace_back("told apart");
  Table table("In %, [95 % interval]", headings);
  for (const json& row : elements(at(view.all(), {"figures"}))) {
    std::vector<Cell> cells{words(figure_name(row))};
    for (const json& value : elements(at(row, {"values"})))
      cells.push_back(value.is_object() ? number(percent(number_of(value, "value")) + interval_text(at(value, {"interval95"})))
                                        : number("-", "not defined for this network, or left out"));
    cells.push_back(words(text_of(row, "spread")));
    std::vector<std::string> told;
    for (const json& pair : elements(at(row, {"pairs"}))) {
      if (!(number_of(pair, "p_holm") < number_of(view.all(), "level"))) continue;
      const bool first = number_of(pair, "difference") > 0;
      const auto a = at(pair, {first ? "first" : "second"}).get<size_t>(), b = at(pair, {first ? "second" : "first"}).get<size_t>();
      told.push_back(fmt::format("{} above {} by {} points (p {})", view.name(a), view.name(b), difference_text(pair, first),
                                 p_text(at(pair, {"p_holm"}))));
    }
    const bool tested = at(row, {"pairs"}).is_array();
    cells.push_back(words(!tested ? "not tested" : told.empty() ? "none" : fmt::format("{}", fmt::join(told, "; "))));
    table.add(cells);
  }
  if (table.empty()) return {};
  return table.html() +
         soft(
             "Few-shot and cross-validation: Student's test of the differences draw by draw and fold by fold, which are the same for all "
             "checkpoints; of folds with the variance of Nadeau and Bengio (2003), because folds share training images; p after Holm's "
             "correction for the pairs of a figure. It covers the choice of training images for these test images. Not tested: "
             "results.json "
             "has no single values to pair.");
}

}  // namespace

std::string evaluations_html(const json& comparison) {
  const ComparisonView view(comparison);
  const json& data = at(comparison, {"data"});
  const std::string name = text_of(data, "name").empty() ? text_of(data, "path") : text_of(data, "name");
  Page page("Which backbone? " + name,
            fmt::format("{} checkpoints on {} training and {} test images ({})", view.size(),
                        figure(number_of(at(comparison, {"memory"}), "images"), 9),
                        figure(number_of(at(comparison, {"queries"}), "images"), 9), text_of(at(comparison, {"queries"}), "source")));
  page.section("verdict", "Verdict", verdict(view));
  page.section("checkpoints", "Checkpoints and cost", checkpoints(view));
  page.section("scores", "Scores", scores(view));
  page.section("pairs", "Differences", differences(view));
  page.section("classes", "Rare classes", classes(view));
  if (const Html others = other_figures(view); !others.code.empty()) page.section("figures", "Other figures", others);
  return page.html();
}

}  // namespace dinoxx::report
