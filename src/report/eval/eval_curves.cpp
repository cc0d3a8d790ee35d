#include <fmt/format.h>

#include <cmath>

#include "eval_sections.hpp"
#include "report/run/run_charts.hpp"
#include "report/run/run_figures.hpp"
#include "results/needed_images.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

// mean [low, high] of a score over draws.
Cell over_draws(const json& method, const char* score) {
  const json& value = at(method, {score});
  if (!value.is_object()) return number("–", text_of(method, "left_out").empty() ? "not in results.json" : text_of(method, "left_out"));
  return share(value, "mean", at(value, {"interval95"}));
}

Series curve_of(const json& result, const std::string& method, const std::string& name) {
  Series series{name, {}};
  for (const json& entry : elements(at(result, {"curve"}))) {
    const json& score = at(entry, {"methods", method.c_str(), "balanced_accuracy"});
    Point point{number_of(entry, "shots"), number_of(score, "mean"), {}, {}, ""};
    if (const json& interval = at(score, {"interval95"}); !interval_text(interval).empty()) {
      point.low = interval[0].get<double>();
      point.high = interval[1].get<double>();
    }
    series.points.push_back(point);
  }
  return series;
}

Html episodes(const json& results) {
  Table table("Episodes: few classes at a time, mean recall in % [95 % interval]",
              {"features", "classes at a time", "images of each", "episodes", "nearest mean", "SimpleShot"});
  for (const json& result : results) {
    for (const json& episode : elements(at(result, {"episodes"}))) {
      const json &mean = at(episode, {"methods", "nearest_mean"}), &simple = at(episode, {"methods", "simpleshot"});
      table.add({words(features_name(text_of(result, "name"))), count(episode, "ways"), count(episode, "shots"), count(episode, "episodes"),
                 share(mean, "accuracy", at(mean, {"interval95"})), share(simple, "accuracy", at(simple, {"interval95"}))});
    }
  }
  return table.empty() ? Html{} : table.html();
}

// What more images of single classes would bring, on features of the checkpoint.
Html of_single_classes(const Results& results, const json& few) {
  Table table("More training images of one class: recall of SimpleShot in % now, and as predicted [95 % interval]",
              {"class", "training images", "test images", "now", "half as many again", "twice as many", "four times as many",
               "with any number", "for the mean of all classes"});
  std::string rule, untold;
  for (const json& result : few) {
    const json& more = at(result, {"more_images"});
    if (text_of(result, "name") != results.checkpoint() || !more.is_object()) continue;
    rule = fmt::format(
        "{}. The mean of all classes is {} now. The intervals are over the choice of the test images and of the training images.",
        text_of(more, "rule"), share_text(at(more, {"target"}), json()));
    for (const json& row : elements(at(more, {"classes"}))) {
      if (const std::string why = text_of(row, "left_out"); !why.empty()) {
        untold += fmt::format("{}{} ({})", untold.empty() ? "" : ", ", text_of(row, "name"), why);
        continue;
      }
      std::vector<Cell> cells{words(text_of(row, "name")), count(row, "memory"), count(row, "queries"), share(row, "recall")};
      for (const size_t place : {size_t{0}, size_t{1}, size_t{3}}) {
        const json& predicted = elements(at(row, {"at"}));
        cells.push_back(place < predicted.size() ? share(predicted[place], "recall", at(predicted[place], {"interval95"})) : words(""));
      }
      cells.push_back(share(row, "limit", at(row, {"limit95"})));
      cells.push_back(words(needed_images_text(row, at(more, {"target"}))));
      table.add(cells);
    }
  }
  if (table.empty() && untold.empty()) return {};
  return element("h3", text("How many more images does a class need?")) + (table.empty() ? Html{} : table.html()) +
         (rule.empty() ? Html{} : element("p", text(rule), "class=\"soft\"")) +
         (untold.empty() ? Html{} : paragraph("Nothing can be told of: " + untold + "."));
}

std::vector<Series> reliability_of(const json& calibration) {
  std::vector<Series> all;
  for (const auto& [key, name] : {std::pair{"reliability", "before"}, std::pair{"reliability_after", "after temperature scaling"}}) {
    Series series{name, {}};
    for (const json& bin : elements(at(calibration, {key})))
      series.points.push_back({number_of(bin, "confidence"), number_of(bin, "accuracy"), {}, {}, ""});
    all.push_back(std::move(series));
  }
  return all;
}

}  // namespace

Html shots_section(const Results& results) {
  const json& few = elements(at(results.all(), {"suites", "few", "results"}));
  if (few.empty()) return {};
  Chart of_methods{"Learning curve", "labelled images per class", "balanced accuracy; bands: 95 % over draws", {}};
  Chart of_features{
      "The same on other features", "labelled images per class", "balanced accuracy of SimpleShot; bands: 95 % over draws", {}};
  of_methods.log_x = of_features.log_x = of_methods.percent = of_features.percent = true;
  std::vector<std::string> headings{"features", "method"};
  for (const json& entry : elements(at(few[0], {"curve"}))) headings.push_back("K = " + figure(number_of(entry, "shots")));
  Table table("Balanced accuracy in % with K labelled images per class: mean of the draws [95 % interval over draws]", headings);
  for (const json& result : few) {
    const std::string name = text_of(result, "name");
    of_features.series.push_back(curve_of(result, "simpleshot", features_name(name)));
    const json& curve = elements(at(result, {"curve"}));
    if (curve.empty() || !at(curve[0], {"methods"}).is_object()) continue;
    for (const auto& [method, scores] : at(curve[0], {"methods"}).items()) {
      if (name == results.checkpoint()) of_methods.series.push_back(curve_of(result, method, method_name("few", method)));
      std::vector<Cell> row{words(features_name(name)), words(method_name("few", method))};
      for (const json& entry : curve) row.push_back(over_draws(at(entry, {"methods", method.c_str()}), "balanced_accuracy"));
      table.add(row);
    }
  }
  Html body = figures({figure_of(of_methods), few.size() > 1 ? figure_of(of_features) : Html{}});
  if (!table.empty()) body += table.html();
  const json& protocol = at(results.all(), {"suites", "few", "protocol"});
  for (const char* key : {"drawn", "interval"})
    if (const std::string words = text_of(protocol, key); !words.empty()) body += element("p", text(words), "class=\"soft\"");
  return body + of_single_classes(results, few) + episodes(few);
}

Html calibration_section(const Results& results) {
  Table table("Calibration of the predicted probabilities, before and after temperature scaling",
              {"method", "features", "temperature", "ECE, equal mass", "after", "ECE, equal width", "after", "class-wise ECE, equal mass",
               "after", "class-wise ECE, equal width", "after", "log-loss", "after", "Brier", "after"});
  std::vector<Html> charts;
  for (const Method& method : results.methods()) {
    const json& calibration = at(*method.scores, {"calibration"});
    if (!calibration.is_object()) continue;
    const json &before = at(calibration, {"before"}), &after = at(calibration, {"after"});
    std::vector<Cell> row{words(method.name()), words(features_name(method.embedder)), plain(*method.scores, "temperature")};
    for (const char* key : {"ece_equal_mass", "ece_equal_width", "classwise_ece_equal_mass", "classwise_ece_equal_width", "nll", "brier"})
      for (const json* side : {&before, &after}) row.push_back(plain(*side, key));
    table.add(row);
    if (method.embedder != results.checkpoint()) continue;
    Chart chart{"Reliability, " + method.name(), "predicted probability", "share of correct predictions; calibrated: on the diagonal",
                reliability_of(calibration)};
    chart.low = chart.x_low = 0;
    chart.high = chart.x_high = 1;
    chart.diagonal = true;
    charts.push_back(figure_of(chart));
  }
  if (table.empty()) return {};
  return figures(charts) + table.html();
}

}  // namespace dinoxx::report
