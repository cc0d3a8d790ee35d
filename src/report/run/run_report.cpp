#include "run_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/files.hpp"
#include "base/json_text.hpp"
#include "config/train_keys.hpp"
#include "report/page/html.hpp"
#include "results/protocol_names.hpp"
#include "run_charts.hpp"
#include "run_figures.hpp"

namespace dinoxx::report {
namespace {

using nlohmann::json;

struct ChartPlan {
  const char* title;
  const char* label;
  std::vector<const char*> columns;
};

// What train writes at each logged step; columns that no plan names are charts of their own under "Loss and its terms".
const std::vector<ChartPlan> kSchedules{{"Learning rate", "lr", {"lr"}},
                                        {"Weight decay", "weight_decay", {"weight_decay"}},
                                        {"Teacher's momentum", "momentum", {"momentum"}},
                                        {"Teacher's temperature", "teacher_temp", {"teacher_temp", "patch_teacher_temp"}},
                                        {"Last layer frozen", "1: frozen", {"last_layer_frozen"}}};
const std::vector<ChartPlan> kMonitorCharts{
    {"Entropy of the assignments",
     "nats; log of the number of prototypes: uniform, 0: one prototype",
     {"teacher_entropy", "student_entropy", "patch_teacher_entropy"}},
    {"KL between teacher and student", "nats", {"kl", "patch_kl"}},
    {"Spread of the features", "standard deviation per dimension, times the square root of the width; 0: collapsed", {"feature_deviation"}},
    {"Effective rank of the features", "dimensions in use; 1: collapsed", {"effective_rank"}},
    {"Prototypes in use", "perplexity", {"prototype_perplexity"}},
    {"Share of prototypes in use", "share", {"prototypes_used"}},
    {"Gradient norm", "before clipping", {"grad_norm"}}};
const std::vector<ChartPlan> kThroughput{
    {"Throughput", "images per second, all ranks", {"images_per_s"}},
    {"Waiting for data", "share of the time", {"data_wait"}},
    {"Communication hidden", "share of the gradient sent during the backward pass", {"overlapped_share"}}};

Html charts(const RunRecord& run, const std::vector<ChartPlan>& plans) {
  std::vector<Html> all;
  for (const ChartPlan& plan : plans) {
    Chart chart{plan.title, "epoch", plan.label, {}};
    for (const char* column : plan.columns) chart.series.push_back(column_series(run, column, column));
    all.push_back(figure_of(chart));
  }
  return figures(all);
}

std::set<std::string> planned() {
  std::set<std::string> names{"loss", "epoch"};
  for (const auto* plans : {&kSchedules, &kMonitorCharts, &kThroughput})
    for (const ChartPlan& plan : *plans) names.insert(plan.columns.begin(), plan.columns.end());
  return names;
}

Html losses(const RunRecord& run) {
  std::vector<Html> all{figure_of({"Loss", "epoch", "all terms together", {column_series(run, "loss", "loss")}})};
  const std::set<std::string> elsewhere = planned();
  for (const auto& [name, values] : run.columns)
    if (!elsewhere.contains(name)) all.push_back(figure_of({name, "epoch", "", {column_series(run, name, name)}}));
  return figures(all);
}

Html knn(const RunRecord& run) {
  Table table("k-NN on frozen features of the teacher, in %",
              {"step", "epoch", "images seen", "k", "accuracy", "balanced accuracy", "seconds"});
  Chart chart{"k-NN accuracy", "epoch", "share of the queries", {{"accuracy", {}}, {"balanced accuracy", {}}}};
  chart.percent = true;
  std::string queries;
  for (const json& record : run.evals) {
    const json& eval = record["eval"];
    const double step = number_of(record, "step"), epoch = number_of(record, "epoch");
    if (const std::string error = text_of(eval, "error"); !error.empty()) {
      table.add({number(grouped(std::llround(step))), number(figure(epoch)), {}, {}, words("failed: " + error), {}, {}});
      continue;
    }
    const double accuracy = number_of(eval, "accuracy"), balanced = number_of(eval, "balanced_accuracy");
    chart.series[0].points.push_back({epoch, accuracy, {}, {}, ""});
    chart.series[1].points.push_back({epoch, balanced, {}, {}, ""});
    queries = text_of(eval, "queries");
    table.add({number(grouped(std::llround(step))), number(figure(epoch)), number(grouped(run.images_seen(std::llround(step)))),
               number(figure(number_of(eval, "k"))), number(percent(accuracy)), number(percent(balanced)),
               number(figure(number_of(eval, "seconds"), 3))});
  }
  if (table.empty()) return paragraph("No evaluation yet (eval.every).");
  Html body = figures({figure_of(chart)});
  if (!queries.empty()) body += paragraph("Queries: " + queries + ". The memory is train; test is never used during training.");
  return body + table.html();
}

json steps_of(const json& record) {
  const json& eval = record["eval"];
  return eval.is_object() ? eval.value("steps", json::object()) : json::object();
}

// The other protocols of eval.suite: a chart and a table each, of whatever figures they have.
Html other_protocols(const RunRecord& run) {
  std::map<std::string, std::set<std::string>> figures_of;
  for (const json& record : run.evals) {
    const json steps = steps_of(record);
    for (const auto& [key, figures] : steps.items())
      for (const auto& [name, value] : figures.items()) figures_of[key].insert(name);
  }
  Html body;
  for (const auto& [key, names] : figures_of) {
    const std::string word = eval::protocol_word(key);
    Chart chart{word, "epoch", "", {}};
    std::vector<std::string> headings{"step", "epoch"};
    for (const std::string& name : names) {
      std::string heading = name;
      std::replace(heading.begin(), heading.end(), '_', ' ');
      headings.push_back(heading);
      chart.series.push_back({heading, {}});
    }
    Table table(word + " on frozen features of the teacher", headings);
    for (const json& record : run.evals) {
      const json steps = steps_of(record);
      if (!steps.contains(key)) continue;
      const double epoch = number_of(record, "epoch");
      std::vector<Cell> cells{number(grouped(std::llround(number_of(record, "step")))), number(figure(epoch))};
      for (size_t i = 0; const std::string& name : names) {
        const double value = number_of(steps[key], name.c_str());
        chart.series[i++].points.push_back({epoch, value, {}, {}, ""});
        const std::string why = text_of(steps[key], name.c_str());
        cells.push_back(why.empty() ? number(figure(value)) : words(why));
      }
      table.add(std::move(cells));
    }
    body += figures({figure_of(chart)}) + table.html();
  }
  return body;
}

Html overview(const RunRecord& run) {
  std::vector<std::pair<std::string, Html>> rows;
  for (const Figure& figure : run_figures(run)) rows.emplace_back(figure.name, text(figure.value));
  rows.emplace_back("steps", text(run.total_steps() > 0 ? fmt::format("{} of {}", grouped(run.last_step()), grouped(run.total_steps()))
                                                        : grouped(run.last_step())));
  Html body = facts("Last values of loss, k-NN and monitors", rows);
  std::vector<Html> alarms;
  for (const std::string& note : run.notes) alarms.push_back(text(note));
  for (const json& event : run.events) {
    if (text_of(event, "event") == "collapse")
      alarms.push_back(text(fmt::format("Collapse alarm at step {}: {}", figure(number_of(event, "step"), 9), text_of(event, "signs"))));
    if (text_of(event, "event") == "forgetting")
      alarms.push_back(
          text(fmt::format("k-NN accuracy at step {}: {:.2f} %, with the weights of the start {:.2f} %",
                           figure(number_of(event, "step"), 9), 100 * number_of(event, "accuracy"), 100 * number_of(event, "at_start"))));
    if (text_of(event, "event") == "data_wait")
      alarms.push_back(text(fmt::format("From step {} on the loader was the limit: steps waited for images {:.0f} % of their time.",
                                        figure(number_of(event, "step"), 9), 100 * number_of(event, "share"))));
    if (text_of(event, "event") == "skipped")
      alarms.push_back(text(fmt::format("Step {} skipped: its loss was not finite (NaN or infinity). {}",
                                        figure(number_of(event, "step"), 9), text_of(event, "where"))));
  }
  constexpr size_t kAlarmsShown = 50;
  if (alarms.size() > kAlarmsShown) {
    const size_t more = alarms.size() - kAlarmsShown;
    alarms.resize(kAlarmsShown);
    alarms.push_back(text(fmt::format("and {} more in metrics.jsonl", more)));
  }
  if (!alarms.empty()) body += element("div", element("strong", text("Notes")) + list(alarms), "class=\"verdict warn\"");
  return body;
}

Html joined(const json& values) {
  std::vector<Html> items;
  if (values.is_array())
    for (const json& value : values) items.push_back(text(value.is_string() ? value.get<std::string>() : json_text(value)));
  return items.empty() ? text("none") : list(items);
}

Html provenance(const RunRecord& run) {
  Html body;
  for (size_t i = 0; i < run.starts.size(); ++i) {
    const json& start = run.starts[i];
    std::vector<std::pair<std::string, Html>> rows;
    for (const auto& [name, value] : start.items()) {
      if (name == "event") continue;
      if (name == "command") {
        rows.emplace_back(name, element("code", text(text_of(start, "command"))));
      } else if (value.is_array()) {
        rows.emplace_back(name, joined(value));
      } else {
        rows.emplace_back(name, text(value.is_string() ? value.get<std::string>() : json_text(value)));
      }
    }
    body += facts(i == 0 ? "Start" : fmt::format("Resume at step {}", figure(number_of(start, "step"), 9)), rows);
  }
  return body.code.empty() ? paragraph("No record of a start.") : body;
}

}  // namespace

Series column_series(const RunRecord& run, const std::string& column, const std::string& name) {
  Series series{name, {}};
  const auto values = run.columns.find(column);
  const auto epochs = run.columns.find("epoch");
  if (values == run.columns.end() || epochs == run.columns.end()) return series;
  for (size_t i = 0; i < run.steps.size(); ++i)
    if (!std::isnan(values->second[i])) series.points.push_back({epochs->second[i], values->second[i], {}, {}, ""});
  return series;
}

Html figures(const std::vector<Html>& all) {
  Html body;
  for (const Html& figure : all) body += figure;
  return body.code.empty() ? Html{} : element("div", body, "class=\"figures\"");
}

std::string run_report_html(const RunRecord& run) {
  Page page("Training run " + run.name, run.config ? train_method(*run.config) + ", " + backbone_text(*run.config) : "");
  page.section("overview", "Overview", overview(run));
  if (run.steps.empty()) {
    page.section("loss", "Loss and its terms", paragraph("No step is logged yet (train.log_every)."));
  } else {
    page.section("loss", "Loss and its terms", losses(run));
  }
  page.section("knn", "k-NN over time", knn(run));
  if (const Html others = other_protocols(run); !others.code.empty()) page.section("steps", "Other protocols over time", others);
  if (!run.steps.empty()) {
    page.section("schedules", "Schedules", charts(run, kSchedules));
    page.section("monitors", "Monitors", charts(run, kMonitorCharts));
    page.section("throughput", "Throughput", charts(run, kThroughput));
  }
  if (run.config)
    page.section("configuration", "Configuration", details("all keys (config.cfg)", element("pre", text(print_config(*run.config)))));
  page.section("provenance", "Provenance", provenance(run));
  return page.html();
}

std::filesystem::path write_run_report(const std::filesystem::path& run_folder) {
  const std::filesystem::path file = run_folder / "report.html";
  write_file_atomically(file, run_report_html(read_run(run_folder)));
  return file;
}

}  // namespace dinoxx::report
