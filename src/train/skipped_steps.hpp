#pragma once
#include <vector>

#include "output/run_log.hpp"
#include "training.hpp"

namespace dinoxx {

/// The account of steps that did not count because a loss or a gradient was NaN or infinite.
class SkippedSteps {
 public:
  /// Error after `max_in_a_row` of them in a row.
  SkippedSteps(Communicator& control, int64_t max_in_a_row, RunLog& log) : control_(control), max_(max_in_a_row), log_(log) {}
  /// Of every step, behind it. A skipped one is recorded with the ranks and images that it came from. Collective; the Error is agreed.
  void account(const StepMetrics& metrics, int64_t step, const std::vector<uint64_t>& sample_ids);

 private:
  std::string origin(const StepMetrics& metrics, const std::vector<uint64_t>& sample_ids);

  Communicator& control_;
  int64_t max_, in_a_row_ = 0;
  RunLog& log_;
};

}  // namespace dinoxx
