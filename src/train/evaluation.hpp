#pragma once
#include "calendar.hpp"
#include "output/run_log.hpp"
#include "stopwatch.hpp"
#include "training.hpp"

namespace dinoxx {

/// Evaluation of the teacher during training: when it is due, and its figures in metrics.jsonl, TensorBoard and on the terminal. An
/// evaluation that fails is recorded, and training goes on; one that a stop ends is left to the next start.
class Evaluation {
 public:
  /// `hook` may be empty: then nothing is ever evaluated.
  Evaluation(EvalHook hook, const TrainComms& comms, const Calendar& calendar, RunHistory& history, RunLog& log, Stopwatch& watch)
      : hook_(std::move(hook)), comms_(comms), calendar_(calendar), history_(history), log_(log), watch_(watch) {}
  /// Evaluates when the step that the state has reached is due and has not been evaluated yet, by this process or before a resume: also
  /// what a stop or a crash left out. `images` of an epoch. Asks `must_stop` while it goes on, from any thread: once that is so on a rank
  /// the evaluation ends, nothing is recorded, and the answer is false on all. Collective.
  bool run_if_due(TrainState& state, uint64_t images, const std::function<bool()>& must_stop);
  /// That the last one took; 0 before the first. For the time limit: what would fall due behind `step`.
  double seconds_behind(int64_t step) const { return calendar_.evaluates_after(step) ? seconds_ : 0; }

 private:
  void record(const TrainState& state, double epoch, const nlohmann::json& result);

  EvalHook hook_;
  const TrainComms& comms_;
  const Calendar& calendar_;
  RunHistory& history_;
  RunLog& log_;
  Stopwatch& watch_;
  double seconds_ = 0;
};

}  // namespace dinoxx
