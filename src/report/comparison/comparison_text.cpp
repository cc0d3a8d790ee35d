#include <fmt/ranges.h>

#include <cmath>

#include "base/csv.hpp"
#include "comparison_pages.hpp"
#include "comparison_view.hpp"
#include "report/eval/results_view.hpp"
#include "report/page/text_table.hpp"
#include "report/run/run_figures.hpp"
#include "results/protocol_names.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;
using Answer = ComparisonView::Answer;

std::string lines_of(const std::vector<std::string>& sentences) {
  std::string text;
  for (const std::string& sentence : sentences) text += "  " + sentence + "\n";
  return text;
}

std::string checkpoints_table(const ComparisonView& view) {
  TextTable table({"checkpoint", "network", "parameters", "images/s/thread", "embed min", "fit min", "total min", "input", "features"});
  for (size_t i = 0; i < view.size(); ++i) {
    const json& checkpoint = at(view.all(), {"checkpoints"})[i];
    const json& cost = at(checkpoint, {"cost"});
    const double parameters = number_of(checkpoint, "parameters");
    table.add({view.name(i), view.network(i), std::isnan(parameters) ? "-" : fmt::format("{:.2f} M", 1e-6 * parameters),
               figure(number_of(cost, "images_per_core_second"), 3), minutes(at(cost, {"embed_seconds"})),
               minutes(at(cost, {"fit_seconds"})), minutes(at(cost, {"total_seconds"})), text_of(checkpoint, "transform"),
               text_of(checkpoint, "features")});
  }
  return "checkpoints\n" + table.text({0, 1, 7, 8}) + lines_of(cost_notes(view.all()));
}

// "81.50 [77.10, 85.20]"
std::string score_text(const json& scores, const char* score, const char* interval) {
  return at(scores, {score}).is_number() ? percent(number_of(scores, score)) + interval_text(at(scores, {interval})) : "-";
}

// What the tests say of a checkpoint beside the one of highest balanced accuracy.
std::string mark(const ComparisonView& view, const json& method, size_t i) {
  const json& order = elements(at(method, {"order"}));
  if (order.empty()) return "";
  const auto best = order[0].get<size_t>();
  if (best == i) return " *";
  const Answer answer = view.answer(method, best, i);
  return answer == Answer::kBetter ? " -" : answer == Answer::kNone ? "  " : " ?";
}

std::string scores_table(const ComparisonView& view, const char* title, const char* score, const char* interval, bool marked) {
  std::vector<std::string> heading{"method"};
  for (const std::string& name : view.names()) heading.push_back(name);
  TextTable table(heading);
  for (const json& method : elements(at(view.all(), {"methods"}))) {
    std::vector<std::string> row{method_name(text_of(method, "protocol"), text_of(method, "method"))};
    for (size_t i = 0; i < view.size(); ++i)
      row.push_back(score_text(at(method, {"scores"})[i], score, interval) + (marked ? mark(view, method, i) : ""));
    table.add(std::move(row));
  }
  return fmt::format("{}\n{}", title, table.text({0}));
}

std::string pairs_table(const ComparisonView& view, const json& method) {
  TextTable table({"first", "second", "balanced accuracy", "p", "accuracy", "only first", "only second", "p"});
  for (const json& pair : elements(at(method, {"pairs"}))) {
    const json &balanced = at(pair, {"balanced_accuracy"}), &accuracy = at(pair, {"accuracy"});
    table.add({view.name(at(pair, {"first"}).get<size_t>()), view.name(at(pair, {"second"}).get<size_t>()), difference_text(balanced, true),
               p_text(at(balanced, {"p_holm"})), difference_text(accuracy, true), figure(number_of(accuracy, "only_first_right"), 9),
               figure(number_of(accuracy, "only_second_right"), 9), p_text(at(accuracy, {"p_holm"}))});
  }
  return fmt::format("pairs by {}: first minus second in points [95 %]; p by bootstrap and by McNemar's test, after Holm's correction\n{}",
                     method_name(text_of(method, "protocol"), text_of(method, "method")), table.text({0, 1}));
}

std::string figures_table(const ComparisonView& view) {
  std::vector<std::string> heading{"figure"};
  for (const std::string& name : view.names()) heading.push_back(name);
  TextTable table(heading);
  bool any = false;
  for (const json& figure : elements(at(view.all(), {"figures"}))) {
    if (text_of(figure, "figure") == "shots" && text_of(figure, "method") != "simpleshot") continue;
    any = true;
    std::vector<std::string> row{figure_name(figure)};
    for (size_t i = 0; i < view.size(); ++i) {
      const json& value = at(figure, {"values"})[i];
      row.push_back(value.is_object() ? percent(number_of(value, "value")) + interval_text(at(value, {"interval95"})) : "-");
    }
    table.add(std::move(row));
  }
  return any ? "other figures in %; what their intervals are over stands in the page and the JSON\n" + table.text({0}) : "";
}

std::string classes_table(const ComparisonView& view) {
  std::vector<std::string> heading{"class", "training", "test"};
  for (const std::string& name : view.names()) heading.push_back(name);
  heading.emplace_back("told apart");
  TextTable table(heading);
  bool any = false;
  const json& classes = at(view.all(), {"classes"});
  for (const json& row : elements(at(classes, {"classes"}))) {
    if (at(row, {"rare"}) != true) continue;
    any = true;
    std::vector<std::string> cells{text_of(row, "name"), figure(number_of(row, "memory"), 9), figure(number_of(row, "queries"), 9)};
    for (size_t i = 0; i < view.size(); ++i) cells.push_back(figure(number_or_nan(at(row, {"correct"})[i]), 9));
    cells.push_back(told_apart(view, row));
    table.add(std::move(cells));
  }
  if (!any) return "";
  return fmt::format("rare classes by {}: right answers\n{}", method_name(text_of(classes, "protocol"), text_of(classes, "method")),
                     table.text({0, heading.size() - 1}));
}

std::string csv_number(const json& value) {
  return value.is_number() ? fmt::format("{}", value.get<double>()) : "";
}

// A line of the CSV. `pair`: with the best, as `forward` says.
void csv_line(std::string& text, const ComparisonView& view, size_t i, const std::string& protocol, const std::string& method,
              const std::string& score, const json& value, const json& interval, const json& test, bool forward) {
  const json& checkpoint = at(view.all(), {"checkpoints"})[i];
  std::vector<std::string> fields{
      view.name(i),     text_of(checkpoint, "file"), text_of(checkpoint, "crc32c"), eval::protocol_word(protocol), method, score,
      csv_number(value)};
  const auto ends = [&](const json& pair, double sign) {
    const bool both = elements(pair).size() == 2 && pair[0].is_number() && pair[1].is_number();
    for (int end = 0; end < 2; ++end) {
      const size_t place = static_cast<size_t>(sign > 0 ? end : 1 - end);
      fields.push_back(both ? fmt::format("{}", sign * pair[place].get<double>()) : "");
    }
  };
  ends(interval, 1);
  const double difference = number_of(test, "difference"), sign = forward ? 1 : -1;
  fields.push_back(std::isnan(difference) ? "" : fmt::format("{}", sign * difference));
  ends(at(test, {"interval95"}), sign);
  fields.push_back(csv_number(at(test, {"p"})));
  fields.push_back(csv_number(at(test, {"p_holm"})));
  text += csv_row(fields);
}

}  // namespace

std::string evaluations_text(const json& comparison) {
  const ComparisonView view(comparison);
  const ComparisonVerdict verdict = comparison_verdict(view);
  const json& data = at(comparison, {"data"});
  std::string text =
      fmt::format("{} evaluations on {}: {} training images, {} test images ({})\n\n", view.size(),
                  text_of(data, "name").empty() ? text_of(data, "path") : text_of(data, "name"),
                  figure(number_of(at(comparison, {"memory"}), "images"), 9), figure(number_of(at(comparison, {"queries"}), "images"), 9),
                  text_of(at(comparison, {"queries"}), "source"));
  text += checkpoints_table(view) + "\nverdict\n";
  text += lines_of(verdict.answer);
  if (!verdict.limits.empty()) text += "what this does not say\n" + lines_of(verdict.limits);
  if (!elements(at(comparison, {"methods"})).empty()) {
    text +=
        "\n" + scores_table(view, "balanced accuracy in % [95 %, bootstrap of the test images]", "balanced_accuracy", "balanced95", true);
    text += "  * the highest; - worse than it, by both tests; ? by one test alone; without a mark: cannot be told apart\n";
    text += "\n" + scores_table(view, "accuracy in % [95 %, Wilson]", "accuracy", "interval95", false);
  }
  if (const json& method = view.chosen(); !method.is_null()) text += "\n" + pairs_table(view, method);
  for (const std::string& part : {classes_table(view), figures_table(view)})
    if (!part.empty()) text += "\n" + part;
  std::string notes;
  for (const json& left : elements(at(comparison, {"left_out"})))
    notes += fmt::format("note: {} is not compared: {}\n", eval::protocol_word(text_of(left, "protocol")), text_of(left, "why"));
  for (const json& note : elements(at(comparison, {"notes"})))
    if (note.is_string()) notes += "note: " + note.get<std::string>() + "\n";
  return notes.empty() ? text : text + "\n" + notes;
}

std::string evaluations_csv(const json& comparison) {
  const ComparisonView view(comparison);
  std::string text = "checkpoint,file,crc32c,protocol,method,score,value,low,high,minus_best,minus_best_low,minus_best_high,p,p_holm\n";
  for (const json& method : elements(at(comparison, {"methods"}))) {
    const json& order = elements(at(method, {"order"}));
    for (size_t i = 0; i < view.size(); ++i) {
      for (const auto& [score, interval] : {std::pair("balanced_accuracy", "balanced95"), std::pair("accuracy", "interval95")}) {
        const json& own = at(method, {"scores"})[i];
        bool forward = false;
        const json& pair = order.empty() ? json() : view.pair(at(method, {"pairs"}), i, order[0].get<size_t>(), forward);
        csv_line(text, view, i, text_of(method, "protocol"), text_of(method, "method"), score, at(own, {score}), at(own, {interval}),
                 at(pair, {score}), forward);
      }
    }
  }
  for (const json& figure : elements(at(comparison, {"figures"}))) {
    const json& values = elements(at(figure, {"values"}));
    size_t best = 0;
    for (size_t i = 0; i < values.size(); ++i)
      if (number_of(values[i], "value") > number_of(values[best], "value") || std::isnan(number_of(values[best], "value"))) best = i;
    std::string score = text_of(figure, "figure");
    if (const double shots = number_of(figure, "shots"); !std::isnan(shots)) score += fmt::format("_{:.0f}", shots);
    for (size_t i = 0; i < values.size() && i < view.size(); ++i) {
      bool forward = false;
      const json& pair = view.pair(at(figure, {"pairs"}), i, best, forward);
      csv_line(text, view, i, text_of(figure, "protocol"), text_of(figure, "method"), score, at(values[i], {"value"}),
               at(values[i], {"interval95"}), pair, forward);
    }
  }
  return text;
}

}  // namespace dinoxx::report
