#pragma once
#include "calendar.hpp"
#include "data_wait.hpp"
#include "stopwatch.hpp"
#include "training.hpp"

namespace dinoxx {

/// Records the steps that are logged: a line of metrics.jsonl, TensorBoard's scalars, the progress line. Rates are of the time since the
/// record before, as `watch` counts it.
class StepRecorder {
 public:
  StepRecorder(const Training& training, Loader& loader, RunLog& log, Stopwatch& watch);
  /// Behind a step that is logged and counts. Every rank: images that could not be read are told by the rank that met them.
  void record(const StepMetrics& metrics, const StepValues& values, const Batch& batch);
  /// The progress line of what was recorded last, behind what else the step gave rise to say.
  void show();

 private:
  const Training& training_;
  Loader& loader_;
  RunLog& log_;
  Stopwatch& watch_;
  int64_t recorded_step_;     // the last
  uint64_t bad_samples_ = 0;  // told so far
  DataWait data_wait_;
  std::string progress_;
};

}  // namespace dinoxx
