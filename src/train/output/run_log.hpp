#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/progress_line.hpp"
#include "history/run_history.hpp"
#include "run_folder.hpp"
#include "tensorboard.hpp"

namespace dinoxx {

/// Where a run tells what happens: metrics.jsonl, TensorBoard and the terminal. Rank 0 writes; on the other ranks all but say_here() does
/// nothing.
class RunLog {
 public:
  /// `prefix`: in front of every line on the terminal.
  RunLog(bool chief, std::string prefix) : chief_(chief), progress_(stdout, std::move(prefix)) {}
  bool chief() const { return chief_; }

  /// Makes the run folder and locks it. Errors as RunFolder. From here to open() a refusal leaves no folder behind that this made.
  void lock(const RunHistory& history);
  /// Opens metrics.jsonl and TensorBoard's file for steps behind `step`. Error when they cannot be written.
  void open(const RunHistory& history, int64_t step);

  void write(const nlohmann::json& record);  ///< a line of metrics.jsonl
  void scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values);
  void say(const std::string& text);
  void say(const std::vector<std::string>& lines);
  void say_here(const std::string& text) { progress_.say(text); }  ///< on whatever rank
  void show(const std::string& text, bool last);                   ///< the line that is rewritten in place
  /// Makes what was written so far survive a power cut.
  void sync();

 private:
  bool chief_;
  std::unique_ptr<RunFolder> folder_;             // rank 0, between lock() and the end
  std::unique_ptr<TensorBoardFile> tensorboard_;  // rank 0, from open()
  ProgressLine progress_;
};

}  // namespace dinoxx
