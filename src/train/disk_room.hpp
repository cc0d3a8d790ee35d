#pragma once
#include <limits>

#include "history/run_history.hpp"
#include "training.hpp"

namespace dinoxx {

/// What checkpoints take of the run folder's file system.
struct DiskRoom {
  int64_t checkpoint = 0;  ///< bytes of one
  int64_t at_once = 0;     ///< how many are there together at most, the one being written included; without those of checkpoint.keep_every
  int64_t kept = 0;        ///< how many checkpoint.keep_every adds until the end
  int64_t wanted = 0;      ///< bytes that those at once take beyond what is there already
  int64_t free = 0;        ///< bytes
  int64_t files = std::numeric_limits<int64_t>::max();  ///< that the file system still has room for, where it counts them
};
/// Where checkpoints go: RUN/checkpoints, which may be a link to another file system, or RUN where it is not there yet.
std::filesystem::path save_folder(const RunHistory& history);
/// Error where this rank cannot write a file under `folder`. Nothing is left there.
void try_to_write(const std::filesystem::path& folder, int rank);
/// Of the start that training.origin tells, before the state is there. Rank 0 of the run has to be able to read the folder.
DiskRoom disk_room(const Training& training, const RunHistory& history);

/// Seconds that a checkpoint under `folder` is assumed to take before one was saved: every rank writes a part of what it would save there,
/// for a second or so, and removes it. Collective; errors are agreed.
double assumed_save_seconds(Communicator& comm, const std::filesystem::path& folder, const CheckpointBytes& bytes);

}  // namespace dinoxx
