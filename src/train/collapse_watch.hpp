#pragma once
#include <string>
#include <utility>
#include <vector>

#include "loss/monitors.hpp"
#include "output/run_log.hpp"

namespace dinoxx {

/// Says so when the signs first tell of a collapse, and again after they had cleared.
class CollapseWatch {
 public:
  /// `stop`: the first sign ends the run.
  CollapseWatch(int64_t prototypes, bool stop, RunLog& log) : prototypes_(prototypes), stop_(stop), log_(log) {}
  /// Of each logged step. Signs count behind the warm-up, and where features have told images apart before or do not come to it
  /// (FirstSpread). `terms` are equal on all ranks, and so is an AgreedError that ends the run.
  void look(int64_t step, const std::vector<std::pair<std::string, double>>& terms, bool warms_up);

 private:
  int64_t prototypes_;
  bool stop_;
  RunLog& log_;
  FirstSpread first_spread_;
  bool collapsed_ = false, excused_ = false;
};

}  // namespace dinoxx
