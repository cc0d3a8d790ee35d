#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace dinoxx {

/// What metrics.jsonl says of a run. Where steps were done again after a resume the later record counts: a start voids what stands behind
/// its step.
struct RunJournal {
  std::vector<nlohmann::json> starts;  ///< records "event": "start" in the order of writing: the first start and each resume
  std::vector<nlohmann::json> evals;   ///< records with "eval", rising steps
  std::vector<nlohmann::json> events;  ///< skipped steps, alarms
  std::vector<int64_t> saved;          ///< steps of which a checkpoint was made

  std::vector<int64_t> steps;                          ///< of the logged steps, rising
  std::map<std::string, std::vector<double>> columns;  ///< per logged step; NaN where a record lacks the value or has null
  int64_t damaged_lines = 0;                           ///< left out

  int64_t last_step() const;       ///< of any record
  int64_t last_evaluated() const;  ///< step of the last evaluation, -1 without one
  int64_t last_saved() const;      ///< the newest step that had a checkpoint, 0 for none: by the saves and the starts that went on from one
  int64_t ranks() const;           ///< of the last start, 0 when not known
};

namespace journal {
/// A whole number >= 0 in a record, 0 where there is none.
int64_t whole_number(const nlohmann::json& record, const char* key);
/// A record's step.
int64_t step_of(const nlohmann::json& record);
}  // namespace journal

/// Reads the text of a metrics.jsonl. A line that is not JSON is counted and left out; a last one without an end is being written.
RunJournal read_journal(const std::string& text);

/// The lines that are whole and not behind `step`, as they stand: what a run that goes on from there keeps.
std::string journal_until(const std::string& text, int64_t step);

}  // namespace dinoxx
