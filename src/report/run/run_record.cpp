#include "run_record.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/files.hpp"
#include "config/config_fields.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double number_or_none(const json& value) {
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  return value.is_number() ? value.get<double>() : kNone;
}

int64_t whole_number(const json& record, const char* key) {
  const auto found = record.find(key);
  return found != record.end() && found->is_number() ? std::max<int64_t>(found->get<int64_t>(), 0) : 0;
}

int64_t step_of(const json& record) {
  return whole_number(record, "step");
}

// What stands behind `step` was lost, or is about to be written again.
void forget_after(RunRecord& run, int64_t step) {
  while (!run.steps.empty() && run.steps.back() > step) run.steps.pop_back();
  for (auto& [name, values] : run.columns) values.resize(std::min(values.size(), run.steps.size()));
  while (!run.evals.empty() && step_of(run.evals.back()) > step) run.evals.pop_back();
}

void add_step(RunRecord& run, const json& record) {
  const int64_t step = step_of(record);
  while (!run.steps.empty() && run.steps.back() >= step) run.steps.pop_back();
  run.steps.push_back(step);
  for (const auto& [name, value] : record.items()) {
    if (name == "step") continue;
    std::vector<double>& column = run.columns[name];
    column.resize(run.steps.size() - 1, kNone);
    column.push_back(number_or_none(value));
  }
  for (auto& [name, column] : run.columns) column.resize(run.steps.size(), kNone);
}

void add_record(RunRecord& run, json record) {
  const int64_t step = step_of(record);
  if (record.contains("event")) {
    const bool start = record["event"] == "start";
    if (start) forget_after(run, step);
    (start ? run.starts : run.events).push_back(std::move(record));
  } else if (record.contains("eval")) {
    while (!run.evals.empty() && step_of(run.evals.back()) >= step) run.evals.pop_back();
    run.evals.push_back(std::move(record));
  } else {
    add_step(run, record);
  }
}

void read_metrics(RunRecord& run, const std::string& text) {
  int64_t damaged = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;  // being written
    json record = json::parse(text.begin() + static_cast<ptrdiff_t>(begin), text.begin() + static_cast<ptrdiff_t>(end), nullptr,
                              /*allow_exceptions=*/false);
    if (record.is_object()) {
      add_record(run, std::move(record));
    } else if (end > begin) {
      ++damaged;
    }
    begin = end + 1;
  }
  if (damaged > 0) run.notes.push_back(fmt::format("{} damaged line{} of metrics.jsonl left out", damaged, damaged == 1 ? "" : "s"));
}

void read_config(RunRecord& run, const fs::path& file) {
  if (!fs::exists(file)) {
    run.notes.emplace_back("no config.cfg: method, batch and images seen are not known");
    return;
  }
  run.config = default_config();
  for (const Field& field : config_fields()) run.absent_keys.insert(field.key);
  std::vector<std::string> unknown;
  for (const Setting& setting : read_settings(file)) {
    run.absent_keys.erase(setting.key);
    try {
      apply_settings(*run.config, {setting});
    } catch (const UsageError&) {  // a run of another version
      unknown.push_back(setting.key);
    }
  }
  if (!unknown.empty())
    run.notes.push_back(fmt::format("{} keys of config.cfg are not of this version: {}{}", unknown.size(), unknown.front(),
                                    unknown.size() > 1 ? ", ..." : ""));
}

// The rate of a record covers the steps since the record before it, or since a start in between.
void add_up_seconds(RunRecord& run) {
  const auto rates = run.columns.find("images_per_s");
  double sum = 0;
  int64_t before = 0;
  for (size_t i = 0; i < run.steps.size(); ++i) {
    int64_t since = before;
    for (const json& start : run.starts)
      if (step_of(start) < run.steps[i]) since = std::max(since, step_of(start));
    const double rate = rates == run.columns.end() ? kNone : rates->second[i];
    if (const auto images = static_cast<double>(run.images_seen(run.steps[i] - since)); rate > 0) {
      sum += images / rate;
      run.images_timed += images;
    }
    run.seconds.push_back(sum);
    before = run.steps[i];
  }
}

}  // namespace

int64_t RunRecord::last_step() const {
  int64_t last = steps.empty() ? 0 : steps.back();
  if (!starts.empty()) last = std::max(last, step_of(starts.back()));
  if (!evals.empty()) last = std::max(last, step_of(evals.back()));
  return last;
}

int64_t RunRecord::batch() const {
  return config ? config->train.batch_size : 0;
}

int64_t RunRecord::ranks() const {
  return starts.empty() ? 0 : whole_number(starts.back(), "world_size");
}

int64_t RunRecord::total_steps() const {
  if (!config || starts.empty() || batch() == 0) return 0;
  return config->train.length.steps(static_cast<uint64_t>(whole_number(starts.back(), "images")), batch());
}

double RunRecord::last(const std::string& column) const {
  const auto found = columns.find(column);
  if (found == columns.end()) return kNone;
  const auto number = std::find_if(found->second.rbegin(), found->second.rend(), [](double v) { return !std::isnan(v); });
  return number == found->second.rend() ? kNone : *number;
}

double RunRecord::images_per_second() const {
  return seconds.empty() || seconds.back() <= 0 ? kNone : images_timed / seconds.back();
}

RunRecord read_run(const fs::path& folder) {
  const fs::path metrics = folder / "metrics.jsonl";
  if (!fs::is_directory(folder))
    fail_usage(folder.string(), "a run folder", fs::exists(folder) ? "a file" : "nothing there", "Name the --out of dinoxx train.");
  if (!fs::exists(metrics))
    fail_usage(folder.string(), "a run folder with metrics.jsonl", "none",
               fs::exists(folder / "results.json") ? "This is a folder of dinoxx eval." : "Name the --out of dinoxx train.");
  RunRecord run;
  run.folder = folder;
  run.name = fs::absolute(folder / "").lexically_normal().parent_path().filename().string();
  read_config(run, folder / "config.cfg");
  read_metrics(run, read_text(metrics));
  add_up_seconds(run);
  return run;
}

}  // namespace dinoxx::report
