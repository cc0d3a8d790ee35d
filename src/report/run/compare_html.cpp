#include <fmt/format.h>

#include <cmath>

#include "report/page/html.hpp"
#include "run_charts.hpp"
#include "run_figures.hpp"
#include "run_report.hpp"

namespace dinoxx::report {
namespace {

Html runs_table(const Comparison& c) {
  std::vector<std::string> headings{"run"};
  for (const Figure& figure : run_figures(c.runs.front())) headings.push_back(figure.name);
  Table table("Runs; last values of loss, k-NN and monitors", headings);
  for (size_t r = 0; r < c.runs.size(); ++r) {
    std::vector<Cell> row{words(c.names[r])};
    for (const Figure& figure : run_figures(c.runs[r])) row.push_back(figure.number ? number(figure.value) : words(figure.value));
    table.add(row);
  }
  return table.html();
}

std::string spread_text(const std::optional<Spread>& spread) {
  if (!spread) return "";
  std::string text = percent(spread->mean);
  if (spread->runs > 1) text += fmt::format(" ({} to {})", percent(spread->min), percent(spread->max));
  if (spread->deviation) text += fmt::format(" sd {}", percent(*spread->deviation));
  return text;
}

Html curve(const Comparison& c) {
  if (c.curve.empty()) return paragraph("None of the runs has an evaluation yet.");
  Chart chart{"k-NN accuracy", "images seen", "share of the queries; bands: smallest to largest of the seeds", {}};
  chart.percent = true;
  std::vector<std::string> headings{"images seen", "epoch"};
  for (const RunGroup& group : c.groups) {
    chart.series.push_back({group.name, {}});
    headings.push_back(group.name);
  }
  Table table(
      "k-NN accuracy in % after equal numbers of images; of several seeds mean (smallest to largest) and, from three on, standard "
      "deviation",
      headings);
  for (size_t i = 0; i < c.curve.size(); ++i) {
    const CurvePoint& point = c.curve[i];
    const bool marked = c.common == i && c.groups.size() > 1;
    std::vector<Cell> row{number(grouped(point.images) + (marked ? " *" : "")), number(figure(point.epoch))};
    for (size_t g = 0; g < c.groups.size(); ++g) {
      const std::optional<Spread>& spread = point.accuracy[g];
      row.push_back(number(spread_text(spread)));
      if (!spread) continue;
      Point p{static_cast<double>(point.images), spread->mean, {}, {}, ""};
      if (spread->runs > 1) {
        p.low = spread->min;
        p.high = spread->max;
      }
      chart.series[g].points.push_back(p);
    }
    table.add(row);
  }
  Html body = figures({figure_of(chart)}) + table.html();
  if (c.common && c.groups.size() > 1) body += paragraph("* the largest number of images for which all runs have a score");
  return body;
}

Html losses(const Comparison& c) {
  std::vector<Html> all;
  const auto over_runs = [&](const std::string& column, const std::string& title, const std::string& label) {
    Chart chart{title, "epoch", label, {}};
    for (size_t r = 0; r < c.runs.size(); ++r) chart.series.push_back(column_series(c.runs[r], column, c.names[r]));
    all.push_back(figure_of(chart));
  };
  over_runs("loss", "Loss", "each method has its own loss; values of different methods cannot be compared");
  for (const Monitor& monitor : kMonitors) over_runs(monitor.column, monitor.column, "");
  over_runs("images_per_s", "Throughput", "images per second");
  return figures(all);
}

Html differences(const Comparison& c) {
  if (c.differing.empty()) return paragraph("All training keys are equal.");
  std::vector<std::string> headings{"key"};
  headings.insert(headings.end(), c.names.begin(), c.names.end());
  Table table("Training keys that differ; ?: not in that run's config.cfg", headings);
  for (size_t i = 0; i < c.differing.size(); ++i) {
    std::vector<Cell> row{words(c.differing[i])};
    for (const std::string& value : c.values[i]) row.push_back(words(value));
    table.add(row);
  }
  return table.html();
}

}  // namespace

std::string comparison_html(const Comparison& c) {
  Page page("Training runs side by side", fmt::format("{} runs, {} configurations", c.runs.size(), c.groups.size()));
  Html notes;
  std::vector<Html> items;
  for (const std::string& note : c.notes) items.push_back(text(note));
  for (const RunGroup& group : c.groups) {
    if (group.runs.size() < 2) continue;
    std::string members;
    for (const size_t r : group.runs) members += (members.empty() ? "" : ", ") + c.names[r];
    items.push_back(text(group.name + ": " + members + ", which differ only in train.seed"));
  }
  if (!items.empty()) notes = element("div", element("strong", text("Notes")) + list(items), "class=\"verdict\"");
  page.section("runs", "Runs", notes + runs_table(c));
  page.section("knn", "k-NN after equal numbers of images", curve(c));
  page.section("loss", "Loss, monitors, throughput", losses(c));
  page.section("keys", "What differs", differences(c));
  return page.html();
}

}  // namespace dinoxx::report
