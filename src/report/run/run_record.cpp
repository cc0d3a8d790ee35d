#include "run_record.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "config/config_fields.hpp"
#include "config/train_keys.hpp"
#include "dinoxx/base/error.hpp"
#include "history/run_history.hpp"

namespace dinoxx::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

void read_config(RunRecord& run, const fs::path& file) {
  if (!fs::exists(file)) {
    run.notes.emplace_back("no config.cfg: method, batch and images seen are unknown");
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
    run.notes.push_back(fmt::format("{} keys of config.cfg are unknown to this version: {}{}", unknown.size(), unknown.front(),
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
      if (journal::step_of(start) < run.steps[i]) since = std::max(since, journal::step_of(start));
    const double rate = rates == run.columns.end() ? kNone : rates->second[i];
    if (const auto images = static_cast<double>(run.images_seen(run.steps[i]) - run.images_seen(since)); rate > 0) {
      sum += images / rate;
      run.images_timed += images;
    }
    run.seconds.push_back(sum);
    before = run.steps[i];
  }
}

}  // namespace

int64_t RunRecord::batch() const {
  return config ? train_batch_size(*config) : 0;
}

int64_t RunRecord::total_steps() const {
  if (!starts.empty() && starts.back().contains("total_steps")) return journal::whole_number(starts.back(), "total_steps");
  if (!config || starts.empty() || batch() == 0) return 0;
  return train_length(*config).steps(static_cast<uint64_t>(journal::whole_number(starts.back(), "images")), batch());
}

int64_t RunRecord::images_seen(int64_t step) const {
  // starts stand in the order of writing: the last one at or before the step is the one that made it
  for (auto start = starts.rbegin(); start != starts.rend(); ++start)
    if (start->contains("batch_size") && journal::step_of(*start) <= step)
      return journal::whole_number(*start, "samples") + (step - journal::step_of(*start)) * journal::whole_number(*start, "batch_size");
  return step * batch();  // an older release wrote the journal
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
  const RunHistory history(folder);
  if (!fs::is_directory(folder))
    fail_usage(folder.string(), "a run folder", fs::exists(folder) ? "a file" : "nothing there", "Name the --out of dinoxx train.");
  if (!history.has_metrics())
    fail_usage(folder.string(), "a run folder with metrics.jsonl", "none",
               fs::exists(folder / "results.json") ? "This is a folder of dinoxx eval." : "Name the --out of dinoxx train.");
  RunRecord run;
  static_cast<RunJournal&>(run) = history.journal();
  run.folder = folder;
  run.name = fs::absolute(folder / "").lexically_normal().parent_path().filename().string();
  read_config(run, history.config_file());
  if (const int64_t n = run.damaged_lines; n > 0)
    run.notes.push_back(fmt::format("{} damaged line{} of metrics.jsonl left out", n, n == 1 ? "" : "s"));
  add_up_seconds(run);
  return run;
}

}  // namespace dinoxx::report
