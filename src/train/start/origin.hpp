#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/saved_run.hpp"
#include "history/run_history.hpp"

namespace dinoxx {

/// Where a run goes on.
struct Origin {
  std::optional<SavedRun> from;                ///< nothing: the beginning
  std::vector<std::filesystem::path> damaged;  ///< newer checkpoints that were passed over
  std::vector<std::string> told;               ///< why
  bool searched = false;                       ///< the newest of the run was taken, none that was named
};

/// What --resume asks for (RunHistory::what_resume_means), found on all ranks: with "auto" the newest checkpoint whose state is whole.
/// UsageError as RunHistory::resume_points; Error where all are damaged, and with "strict" where the newest is. Nothing is changed.
/// Collective.
Origin find_origin(Communicator& comm, const std::string& asked, const std::string& command, const RunHistory& history);

}  // namespace dinoxx
