#include "run_history.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/files.hpp"
#include "checkpoint_folders.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {

namespace fs = std::filesystem;

// Also where the folder may not be looked into: then there is nothing for us.
bool RunHistory::exists(const fs::path& file) {
  std::error_code code;
  return fs::exists(file, code);
}

fs::path RunHistory::checkpoint_folder(int64_t step) const {
  return checkpoints_folder() / checkpoint_name(step);
}

bool RunHistory::has_checkpoints_folder() const {
  std::error_code code;
  return fs::is_directory(checkpoints_folder(), code);
}

std::vector<SavedCheckpoint> RunHistory::checkpoints() const {
  std::vector<SavedCheckpoint> saved;
  for (const fs::path& folder : list_checkpoints(checkpoints_folder())) saved.push_back({folder, checkpoint_step(folder)});
  return saved;
}

std::optional<fs::path> RunHistory::newest_checkpoint() const {
  return latest_checkpoint(run_);
}

std::optional<fs::path> RunHistory::checkpoint_of(int64_t step) const {
  for (const SavedCheckpoint& saved : checkpoints())
    if (saved.step == step && step >= 0) return saved.folder;
  return std::nullopt;
}

RunJournal RunHistory::journal() const {
  return has_metrics() ? read_journal(read_text(metrics_file())) : RunJournal{};
}

std::optional<fs::path> RunHistory::resume_point(const std::string& resume) const {
  if (resume.empty()) return std::nullopt;
  if (resume == "auto") return newest_checkpoint();
  if (resume == "never") {
    if (begun())
      fail_usage(run_.string(), "an empty run folder for --resume never", "a run",
                 "Resume it (--resume auto), remove it, or choose another --out");
    return std::nullopt;
  }
  if (!fs::exists(fs::path(resume) / checkpoint::kManifest))
    fail_usage("--resume", "auto, never or a checkpoint folder (with manifest.json)", fmt::format("\"{}\"", resume),
               "Name a folder such as RUN/checkpoints/step_00001000");
  return resume;
}

int64_t RunHistory::set_back(int64_t step) const {
  if (!has_metrics()) return -1;
  const std::string before = read_text(metrics_file()), kept = journal_until(before, step);
  if (kept != before) write_file_atomically(metrics_file(), kept);
  return read_journal(kept).last_evaluated();
}

void RunHistory::go_on(int64_t step, bool saved, int64_t evaluated) {
  saved_ = saved ? step : -1;
  evaluated_ = evaluated;
}

void RunHistory::prune(int64_t keep, const std::function<bool(int64_t step)>& stays) const {
  prune_checkpoints(checkpoints_folder(), keep, stays);
}

int64_t newest_common_step(const std::vector<RunHistory>& runs) {
  std::vector<int64_t> common;
  for (size_t i = 0; i < runs.size(); ++i) {
    std::vector<int64_t> steps, both;
    for (const SavedCheckpoint& saved : runs[i].checkpoints()) steps.push_back(saved.step);
    std::set_intersection(common.begin(), common.end(), steps.begin(), steps.end(), std::back_inserter(both));
    common = i == 0 ? steps : both;
  }
  return common.empty() ? -1 : common.back();
}

}  // namespace dinoxx
