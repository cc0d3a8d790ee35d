#include "run_history.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

#include "base/files.hpp"
#include "checkpoint_folders.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {

namespace fs = std::filesystem;

namespace {

constexpr const char* kBranch = "branch_";

// The number in "branch_3"; -1 for another name.
int64_t branch_number(const fs::path& folder) {
  const std::string name = folder.filename().string(), prefix = kBranch;
  const std::string digits = name.starts_with(prefix) ? name.substr(prefix.size()) : "";
  return !digits.empty() && digits.size() < 10 && digits.find_first_not_of("0123456789") == std::string::npos ? std::stoll(digits) : -1;
}

// What it says of itself; an empty object where it is damaged.
nlohmann::json manifest_of(const fs::path& checkpoint) {
  nlohmann::json manifest = nlohmann::json::parse(read_text(checkpoint / checkpoint::kManifest), nullptr, false);
  return manifest.is_object() ? manifest : nlohmann::json::object();
}

std::string steps_text(const std::vector<fs::path>& checkpoints) {
  std::vector<int64_t> steps;
  steps.reserve(checkpoints.size());
  for (const fs::path& checkpoint : checkpoints) steps.push_back(checkpoint_step(checkpoint));
  return fmt::format("step{} {}", steps.size() == 1 ? "" : "s", fmt::join(steps, ", "));
}

}  // namespace

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

std::vector<int64_t> RunHistory::unfinished_saves() const {
  return list_unfinished(checkpoints_folder());
}

RunJournal RunHistory::journal() const {
  return has_metrics() ? read_journal(read_text(metrics_file())) : RunJournal{};
}

std::vector<fs::path> RunHistory::left_branches() const {
  std::vector<fs::path> found;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(branches_folder(), code))
    if (branch_number(entry.path()) >= 0) found.push_back(entry.path());
  std::sort(found.begin(), found.end(), [](const fs::path& a, const fs::path& b) { return branch_number(a) < branch_number(b); });
  return found;
}

int64_t RunHistory::branch() const {
  int64_t number = 0;
  for (const fs::path& left : left_branches()) number = std::max(number, branch_number(left) + 1);
  for (const SavedCheckpoint& saved : checkpoints()) number = std::max(number, journal::whole_number(manifest_of(saved.folder), "branch"));
  for (const nlohmann::json& start : journal().starts) number = std::max(number, journal::whole_number(start, "branch"));
  return number;
}

bool RunHistory::tells_of_steps() const {
  const RunJournal told = journal();
  return !told.steps.empty() || !told.evals.empty() || !told.events.empty();
}

std::string RunHistory::what_resume_means(const std::string& resume, const std::string& command) const {
  std::error_code code;
  // the checkpoint itself may have been pruned since
  if (command.empty() || resume.empty() || resume == "never" || !newest_checkpoint()) return resume;
  const std::vector<nlohmann::json> starts = journal().starts;
  const auto same = [&](const std::string& path) {
    return !path.empty() && fs::weakly_canonical(path, code) == fs::weakly_canonical(resume, code);
  };
  for (auto start = starts.rbegin(); start != starts.rend() && start->value("command", "") == command; ++start)
    if (same(start->value("resumed_from", ""))) return "auto";
  return resume;
}

std::vector<fs::path> RunHistory::resume_points(const std::string& resume) const {
  if (resume.empty()) return {};
  if (resume == "never") {
    if (begun())
      fail_usage(run_.string(), "an empty run folder for --resume never", "a run",
                 "Resume it (--resume auto), remove it, or choose another --out");
    return {};
  }
  if (resume != "auto" && resume != "strict") {
    if (!fs::exists(fs::path(resume) / checkpoint::kManifest))
      fail_usage("--resume", "auto, strict, never or a checkpoint folder (with manifest.json)", fmt::format("\"{}\"", resume),
                 "Name a folder such as RUN/checkpoints/step_00001000");
    const fs::path named = fs::path(resume).filename().empty() ? fs::path(resume).parent_path() : fs::path(resume);
    return {fs::is_symlink(named) ? fs::canonical(named) : named};  // a link may stand outside of the run whose checkpoint it is
  }
  std::vector<fs::path> points = list_checkpoints(checkpoints_folder());
  const int64_t newest = points.empty() ? -1 : checkpoint_step(points.back());
  for (const fs::path& folder : list_without_manifest(checkpoints_folder()))
    if (checkpoint_step(folder) > newest) points.push_back(folder);
  std::reverse(points.begin(), points.end());
  if (points.empty() && journal().last_saved() > 0)
    fail_usage(run_.string(),
               fmt::format("the checkpoints that {} tells of, the last at step {}", metrics_file().string(), journal().last_saved()),
               fmt::format("none in {}", checkpoints_folder().string()),
               "Put them back, name one with --resume PATH, or begin a new run with another --out");
  return points;
}

bool RunHistory::owns(const fs::path& checkpoint) const {
  std::error_code code;
  return !checkpoint.empty() && fs::equivalent(fs::absolute(checkpoint).parent_path(), checkpoints_folder(), code);
}

std::vector<std::string> RunHistory::make_way(const fs::path& checkpoint, int64_t step) const {
  const bool own = owns(checkpoint);
  std::vector<fs::path> later;
  for (const SavedCheckpoint& saved : checkpoints())
    if (!own || saved.step > step) later.push_back(saved.folder);
  const bool journal_goes = !own && has_metrics() && tells_of_steps();
  std::vector<std::string> told;
  if (!later.empty() || journal_goes) {
    // copies first, then the newest checkpoint first: whenever this is interrupted, what is left is a run that can go on
    const fs::path left = branches_folder() / fmt::format("{}{}", kBranch, branch());
    make_writable_directory(left / "checkpoints");
    for (const fs::path& file : {metrics_file(), config_file()})
      if (exists(file)) write_file_atomically(left / file.filename(), read_text(file));
    std::string moved = metrics_file().filename().string();
    if (!later.empty())
      moved =
          fmt::format("{} of the branch that is left ({})", later.size() == 1 ? "the checkpoint" : "the checkpoints", steps_text(later));
    for (auto folder = later.rbegin(); folder != later.rend(); ++folder) fs::rename(*folder, left / "checkpoints" / folder->filename());
    sync_path(left / "checkpoints");
    if (has_checkpoints_folder()) sync_path(checkpoints_folder());
    told.push_back(fmt::format("set aside: {}, now in {}; nothing there is removed", moved, left.string()));
  }
  if (own || checkpoint.empty()) {
    if (journal_goes) write_file_atomically(metrics_file(), "");
    return told;
  }
  const RunHistory origin(fs::absolute(checkpoint).parent_path().parent_path());
  if (origin.has_metrics() || has_metrics())
    write_file_atomically(metrics_file(), origin.has_metrics() ? journal_until(read_text(origin.metrics_file()), step) : "");
  return told;
}

std::vector<std::string> RunHistory::set_damaged_aside(const std::vector<fs::path>& damaged) const {
  std::vector<std::string> told;
  for (const fs::path& folder : damaged) {
    fs::path to = run_ / "damaged" / folder.filename();
    for (int i = 2; exists(to); ++i) to = run_ / "damaged" / fmt::format("{}.{}", folder.filename().string(), i);
    make_writable_directory(to.parent_path());
    fs::rename(folder, to);
    told.push_back(fmt::format("the damaged checkpoint {} is kept in {}", folder.filename().string(), to.string()));
  }
  return told;
}

std::vector<int64_t> common_steps(const std::vector<RunHistory>& runs) {
  std::vector<int64_t> common;
  for (size_t i = 0; i < runs.size(); ++i) {
    std::vector<int64_t> steps, both;
    for (const SavedCheckpoint& saved : runs[i].checkpoints()) steps.push_back(saved.step);
    std::set_intersection(common.begin(), common.end(), steps.begin(), steps.end(), std::back_inserter(both));
    common = i == 0 ? steps : both;
  }
  return common;
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

void RunHistory::note_completion(std::optional<int64_t> last_step) const {
  if (last_step)
    write_file_atomically(completion_file(), fmt::format("{{\"steps\": {}}}\n", *last_step));
  else
    fs::remove(completion_file());
}

void RunHistory::prune(int64_t keep, const std::function<bool(int64_t step)>& stays) const {
  prune_checkpoints(checkpoints_folder(), keep, [&](int64_t step) {
    if (step == saved_) return true;
    // by what was asked for when it was saved: with another batch or rhythm today a step says nothing of it
    const nlohmann::json manifest = manifest_of(checkpoint_folder(step));
    if (const auto kept = manifest.find("stays"); kept != manifest.end() && kept->is_boolean()) return kept->get<bool>();
    return stays && stays(step);
  });
}

}  // namespace dinoxx
