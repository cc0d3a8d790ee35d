#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/csv.hpp"
#include "compare.hpp"
#include "config/train_keys.hpp"
#include "report/page/text_table.hpp"
#include "run_figures.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

std::string cell(const std::optional<Spread>& spread) {
  if (!spread) return "";
  if (spread->runs == 1) return percent(spread->mean);
  std::string text = fmt::format("{} ({}..{})", percent(spread->mean), percent(spread->min), percent(spread->max));
  if (spread->deviation) text += fmt::format(" sd {}", percent(*spread->deviation));
  return text;
}

std::string runs_table(const Comparison& c) {
  std::vector<std::string> heading{"run"};
  std::set<size_t> left{0};
  for (const Figure& figure : run_figures(c.runs.front())) {
    if (!figure.number) left.insert(heading.size());
    heading.push_back(figure.name);
  }
  TextTable table(heading);
  for (size_t r = 0; r < c.runs.size(); ++r) {
    std::vector<std::string> row{c.names[r]};
    for (const Figure& figure : run_figures(c.runs[r])) row.push_back(figure.value);
    table.add(std::move(row));
  }
  return "runs; last values of loss, k-NN and monitors\n" + table.text(left);
}

std::string curve_table(const Comparison& c) {
  std::vector<std::string> heading{"", "images seen", "epoch"};
  for (const RunGroup& group : c.groups) heading.push_back(group.name);
  TextTable table(heading);
  for (size_t i = 0; i < c.curve.size(); ++i) {
    const CurvePoint& point = c.curve[i];
    std::vector<std::string> row{c.common == i && c.groups.size() > 1 ? "*" : "", grouped(point.images), figure(point.epoch, 4)};
    for (const auto& spread : point.accuracy) row.push_back(cell(spread));
    table.add(std::move(row));
  }
  std::string text = "k-NN accuracy in % after equal numbers of images";
  const bool seeds = std::any_of(c.groups.begin(), c.groups.end(), [](const RunGroup& group) { return group.runs.size() > 1; });
  if (seeds) text += "; of several seeds mean (smallest..largest) and, from three on, standard deviation";
  text += "\n" + table.text({0});
  if (c.common && c.groups.size() > 1) text += "  * the largest number of images for which all runs have a score\n";
  return text;
}

std::string csv_number(double value) {
  return std::isnan(value) ? "" : fmt::format("{}", value);
}

// The last logged value and the training time at or before `step`.
double at_step(const RunRecord& run, const std::vector<double>& values, double step) {
  double found = NAN;
  for (size_t i = 0; i < run.steps.size() && static_cast<double>(run.steps[i]) <= step; ++i)
    if (i < values.size() && !std::isnan(values[i])) found = values[i];
  return found;
}

}  // namespace

std::string comparison_text(const Comparison& c) {
  std::string text = runs_table(c);
  if (!c.curve.empty()) text += "\n" + curve_table(c);
  if (!c.differing.empty()) {
    std::vector<std::string> heading{"key"};
    heading.insert(heading.end(), c.names.begin(), c.names.end());
    TextTable table(heading);
    for (size_t i = 0; i < c.differing.size(); ++i) {
      std::vector<std::string> row{c.differing[i]};
      row.insert(row.end(), c.values[i].begin(), c.values[i].end());
      table.add(std::move(row));
    }
    text += "\ntraining keys that differ\n" + table.text({0});
  }
  for (const RunGroup& group : c.groups) {
    if (group.runs.size() < 2) continue;
    std::vector<std::string> members;
    for (const size_t r : group.runs) members.push_back(c.names[r]);
    text += fmt::format("\n{}: {}, which differ only in train.seed\n", group.name, fmt::join(members, ", "));
  }
  if (!c.notes.empty()) text += "\n";
  for (const std::string& note : c.notes) text += "note: " + note + "\n";
  return text;
}

std::string comparison_csv(const Comparison& c) {
  std::set<int64_t> ks;
  for (const RunRecord& run : c.runs)
    for (const json& record : run.evals)
      if (record["eval"].is_object() && record["eval"].contains("by_k") && record["eval"]["by_k"].is_object())
        for (const auto& [k, value] : record["eval"]["by_k"].items()) ks.insert(std::atoll(k.c_str()));
  std::string text = "run,group,method,backbone,seed,ranks,batch,step,epoch,images_seen,train_seconds,loss,k,accuracy,balanced_accuracy";
  for (const int64_t k : ks) text += fmt::format(",accuracy_k{}", k);
  text += "\n";
  for (const RunGroup& group : c.groups) {
    for (const size_t r : group.runs) {
      const RunRecord& run = c.runs[r];
      const auto line = [&](double step, double epoch, const json& eval) {
        const auto loss = run.columns.find("loss");
        text +=
            fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}", csv_field(c.names[r]), csv_field(group.name),
                        run.config ? csv_field(train_method(*run.config)) : "", run.config ? csv_field(backbone_text(*run.config)) : "",
                        run.config ? std::to_string(train_seed(*run.config)) : "", run.ranks(), run.batch(), csv_number(step),
                        csv_number(epoch), csv_number(step * static_cast<double>(run.batch())), csv_number(at_step(run, run.seconds, step)),
                        csv_number(loss == run.columns.end() ? NAN : at_step(run, loss->second, step)), csv_number(number_of(eval, "k")),
                        csv_number(number_of(eval, "accuracy")), csv_number(number_of(eval, "balanced_accuracy")));
        for (const int64_t k : ks)
          text += "," + csv_number(eval.is_object() && eval.contains("by_k") ? number_of(eval["by_k"], std::to_string(k).c_str()) : NAN);
        text += "\n";
      };
      for (const json& record : run.evals) line(number_of(record, "step"), number_of(record, "epoch"), record["eval"]);
      if (run.evals.empty()) line(static_cast<double>(run.last_step()), run.last("epoch"), json());
    }
  }
  return text;
}

}  // namespace dinoxx::report
