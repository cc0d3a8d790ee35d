#pragma once
#include "calendar.hpp"
#include "output/run_log.hpp"
#include "stopwatch.hpp"
#include "training.hpp"

namespace dinoxx {

/// Evaluation of the teacher during training: when it is due, and its figures in metrics.jsonl, TensorBoard and on the terminal. An
/// evaluation that fails is recorded, and training goes on; one that a stop ends is left to the next start. A run that began with other
/// weights has their accuracy as that of step 0, and an alarm when a later one falls below it by more than init.alarm.
class Evaluation {
 public:
  /// `hook` may be empty: then nothing is ever evaluated.
  Evaluation(EvalHook hook, const Config& config, const TrainComms& comms, const Calendar& calendar, RunHistory& history, RunLog& log,
             Stopwatch& watch);
  /// Evaluates when the step that the state has reached is due and has not been evaluated yet, by this process or before a resume: also
  /// what a stop or a crash left out. `images` of an epoch. AgreedError for an alarm where train.stop_on_collapse ends the run. Asks
  /// `must_stop` while it goes on, from any thread: once that is so on a rank the evaluation ends, nothing is recorded, and the answer is
  /// false on all. Collective.
  bool run_if_due(TrainState& state, uint64_t images, const std::function<bool()>& must_stop);
  /// That the last one took; 0 before the first. For the time limit: what would fall due behind `step`.
  double seconds_behind(int64_t step) const { return calendar_.evaluates_after(step) ? seconds_ : 0; }

 private:
  void record(const TrainState& state, double epoch, const nlohmann::json& result);
  /// Whether the accuracy has fallen too far; says so.
  bool alarms(int64_t step, const nlohmann::json& result);

  EvalHook hook_;
  const TrainComms& comms_;
  const Calendar& calendar_;
  RunHistory& history_;
  RunLog& log_;
  Stopwatch& watch_;
  double seconds_ = 0;
  double alarm_ = 0;  // init.alarm; 0: none
  bool stop_ = false;
  std::optional<double> at_start_;  // accuracy of step 0; of the chief alone
};

}  // namespace dinoxx
