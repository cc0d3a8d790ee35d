#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "history/run_journal.hpp"

namespace dinoxx::report {

/// What a run folder says of a training run, also of one that is still going on: its journal and config.cfg.
struct RunRecord : RunJournal {
  std::filesystem::path folder;
  std::string name;                   ///< the folder's name
  std::optional<Config> config;       ///< nothing when there is no config.cfg
  std::set<std::string> absent_keys;  ///< that its config.cfg does not have: of an older version
  std::vector<std::string> notes;     ///< what could not be read

  std::vector<double> seconds;  ///< training time up to the logged step, without evaluations and checkpoints
  double images_timed = 0;      ///< in that time; steps between the last record before a stop and the resume have no time

  int64_t batch() const;                         ///< images of a step, 0 when not known
  int64_t total_steps() const;                   ///< that the run is to have, 0 when not known
  int64_t images_seen(int64_t step) const;       ///< in the steps up to this one, also where the batch has changed
  double last(const std::string& column) const;  ///< the last value that is a number; NaN without one
  double images_per_second() const;              ///< over all logged steps; NaN without any
};

/// Reads a run folder. Where steps were done again after a resume the later record counts. A line that is cut off or damaged is left out;
/// `notes` says how many. Keys of config.cfg that this version does not know are noted. UsageError: no folder, no metrics.jsonl.
RunRecord read_run(const std::filesystem::path& folder);

}  // namespace dinoxx::report
