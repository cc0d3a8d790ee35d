#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "run_journal.hpp"

namespace dinoxx {

/// A checkpoint that is there completely.
struct SavedCheckpoint {
  std::filesystem::path folder;
  int64_t step = 0;
};

/// The history of a run: the one place that knows what its folder holds, which checkpoints there are, where a start goes on, what has been
/// evaluated and saved, and what may be removed. Training, evaluation, reports and commands ask it. No tensors; every question about the
/// folder looks at the disk again, because another process may write there.
///
/// `checkpoints/` and metrics.jsonl are those of the live branch. A start that goes back leaves the steps behind it: they move to
/// `branches/branch_N/`, which is a run folder itself. Checkpoints that turn out to be damaged move to `damaged/`.
class RunHistory {
 public:
  explicit RunHistory(std::filesystem::path run) : run_(std::move(run)) {}

  const std::filesystem::path& folder() const { return run_; }
  std::filesystem::path config_file() const { return run_ / "config.cfg"; }         ///< the resolved configuration
  std::filesystem::path metrics_file() const { return run_ / "metrics.jsonl"; }     ///< the journal
  std::filesystem::path completion_file() const { return run_ / "complete.json"; }  ///< there from the end of a run to its next start
  std::filesystem::path checkpoints_folder() const { return run_ / "checkpoints"; }
  std::filesystem::path branches_folder() const { return run_ / "branches"; }  ///< branches that were left
  /// Where the checkpoint of this step lies, or would lie.
  std::filesystem::path checkpoint_folder(int64_t step) const;

  bool has_config() const { return exists(config_file()); }
  bool has_metrics() const { return exists(metrics_file()); }
  bool has_checkpoints_folder() const;
  /// Whether a run has begun here: there is a checkpoint or a journal.
  bool begun() const { return newest_checkpoint() || has_metrics(); }

  std::vector<SavedCheckpoint> checkpoints() const;  ///< oldest first
  std::optional<std::filesystem::path> newest_checkpoint() const;
  std::optional<std::filesystem::path> checkpoint_of(int64_t step) const;  ///< nothing when that step has none
  std::vector<int64_t> unfinished_saves() const;                           ///< steps, rising
  RunJournal journal() const;                                              ///< empty where there is none yet
  std::vector<std::filesystem::path> left_branches() const;                ///< folders below branches/, in the order of leaving
  int64_t branch() const;                                                  ///< number of the live branch: 0 until a start has gone back

  /// "auto" where `resume` names a checkpoint from which this very command has gone on already: the same command again goes on from where
  /// it has come to, as a job that was put back into its queue must. Else `resume`. `command`: as starts record it; empty: not known.
  std::string what_resume_means(const std::string& resume, const std::string& command) const;
  /// Where --resume may go on, the best first: "auto" and "strict" from the checkpoints here, newest first (also what has lost its
  /// manifest, as long as no whole one is newer), "never" and the empty text from none, else from the checkpoint folder that it names, of
  /// whatever run. UsageError when a run has begun here and "never" would overwrite it, for a path that is no checkpoint, and where the
  /// journal tells of checkpoints and there are none.
  std::vector<std::filesystem::path> resume_points(const std::string& resume) const;
  /// Whether this checkpoint is one of this run's live branch.
  bool owns(const std::filesystem::path& checkpoint) const;

  // What the process that trains adds. One process at a time: it holds the folder's lock (RunFolder).

  /// Makes way for a run that goes on from `checkpoint` at `step`; an empty path: from the start. Later checkpoints of this run move to a
  /// branch of their own with a copy of journal and configuration; where the checkpoint is none of this run, all of them and the journal
  /// do, and the journal of its own run takes their place. Returns lines that say what was moved where.
  std::vector<std::string> make_way(const std::filesystem::path& checkpoint, int64_t step) const;
  /// Moves damaged checkpoints to damaged/. Returns lines as above.
  std::vector<std::string> set_damaged_aside(const std::vector<std::filesystem::path>& checkpoints) const;
  /// Takes out of the journal what stands behind `step`, which will be done again, and a torn last line. Returns the last step whose
  /// evaluation is left, -1 for none.
  int64_t set_back(int64_t step) const;
  /// The run goes on from `step`. `saved`: it came from a checkpoint of that step. `evaluated`: of set_back, known to every rank.
  void go_on(int64_t step, bool saved, int64_t evaluated);
  bool is_saved(int64_t step) const { return saved_ == step; }
  bool is_evaluated(int64_t step) const { return evaluated_ == step; }
  /// Tells others, launchers above all, that the run came to its end with this step; nothing: not (yet).
  void note_completion(std::optional<int64_t> last_step) const;
  void note_saved(int64_t step) { saved_ = step; }
  void note_evaluated(int64_t step) { evaluated_ = step; }
  /// Removes all checkpoints but the newest `keep`, the one saved last and those whose step `stays`, and what an interrupted save left.
  void prune(int64_t keep, const std::function<bool(int64_t step)>& stays) const;

 private:
  static bool exists(const std::filesystem::path& file);
  bool tells_of_steps() const;

  std::filesystem::path run_;
  int64_t saved_ = -1, evaluated_ = -1;  // last step, by this process or what it went on from
};

/// Steps of which every run has a checkpoint, rising.
std::vector<int64_t> common_steps(const std::vector<RunHistory>& runs);

}  // namespace dinoxx
