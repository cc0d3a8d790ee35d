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
};

/// What --resume asks for, found on all ranks: with "auto" the newest checkpoint whose state is whole. UsageError as
/// RunHistory::resume_points; Error where all are damaged, and with "strict" where the newest is. Nothing is changed. Collective.
Origin find_origin(Communicator& comm, const std::string& resume, const RunHistory& history);

}  // namespace dinoxx
