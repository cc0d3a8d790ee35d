#include "run_journal.hpp"

#include <algorithm>
#include <limits>
#include <sstream>

namespace dinoxx {
namespace {

using nlohmann::json;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double number_or_none(const json& value) {
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  return value.is_number() ? value.get<double>() : kNone;
}

// What stands behind `step` was lost, or is about to be written again.
void forget_after(RunJournal& run, int64_t step) {
  while (!run.steps.empty() && run.steps.back() > step) run.steps.pop_back();
  for (auto& [name, values] : run.columns) values.resize(std::min(values.size(), run.steps.size()));
  while (!run.evals.empty() && journal::step_of(run.evals.back()) > step) run.evals.pop_back();
}

void add_step(RunJournal& run, const json& record) {
  const int64_t step = journal::step_of(record);
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

void add_record(RunJournal& run, json record) {
  const int64_t step = journal::step_of(record);
  if (record.contains("event")) {
    const bool start = record["event"] == "start";
    if (start) forget_after(run, step);
    if (record["event"] == "saved") return run.saved.push_back(step);
    (start ? run.starts : run.events).push_back(std::move(record));
  } else if (record.contains("eval")) {
    while (!run.evals.empty() && journal::step_of(run.evals.back()) >= step) run.evals.pop_back();
    run.evals.push_back(std::move(record));
  } else {
    add_step(run, record);
  }
}

}  // namespace

int64_t journal::whole_number(const json& record, const char* key) {
  const auto found = record.find(key);
  return found != record.end() && found->is_number() ? std::max<int64_t>(found->get<int64_t>(), 0) : 0;
}

int64_t journal::step_of(const json& record) {
  return whole_number(record, "step");
}

int64_t RunJournal::last_step() const {
  int64_t last = steps.empty() ? 0 : steps.back();
  if (!starts.empty()) last = std::max(last, journal::step_of(starts.back()));
  if (!evals.empty()) last = std::max(last, journal::step_of(evals.back()));
  return last;
}

int64_t RunJournal::last_evaluated() const {
  return evals.empty() ? -1 : journal::step_of(evals.back());
}

int64_t RunJournal::last_saved() const {
  int64_t last = 0;
  for (const int64_t step : saved) last = std::max(last, step);
  for (const json& start : starts) last = std::max(last, journal::step_of(start));
  return last;
}

int64_t RunJournal::ranks() const {
  return starts.empty() ? 0 : journal::whole_number(starts.back(), "world_size");
}

RunJournal read_journal(const std::string& text) {
  RunJournal run;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;  // being written
    json record = json::parse(text.begin() + static_cast<ptrdiff_t>(begin), text.begin() + static_cast<ptrdiff_t>(end), nullptr,
                              /*allow_exceptions=*/false);
    if (record.is_object()) {
      add_record(run, std::move(record));
    } else if (end > begin) {
      ++run.damaged_lines;
    }
    begin = end + 1;
  }
  return run;
}

std::string journal_until(const std::string& text, int64_t step) {
  std::istringstream lines(text);
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    const json record = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (record.is_object() && record.value("step", int64_t{0}) <= step) kept += line + "\n";
  }
  return kept;
}

}  // namespace dinoxx
