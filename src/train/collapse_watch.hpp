#pragma once
#include <string>
#include <utility>
#include <vector>

#include "output/run_log.hpp"

namespace dinoxx {

/// Says so when the signs first tell of a collapse, and again after they had cleared.
class CollapseWatch {
 public:
  /// `stop`: the first sign ends the run.
  CollapseWatch(int64_t prototypes, bool stop, RunLog& log) : prototypes_(prototypes), stop_(stop), log_(log) {}
  /// Of a logged step behind the warm-up, where the first steps' signs tell nothing. `terms` are equal on all ranks, and so is an
  /// AgreedError that ends the run.
  void look(int64_t step, const std::vector<std::pair<std::string, double>>& terms);

 private:
  int64_t prototypes_;
  bool stop_;
  RunLog& log_;
  bool collapsed_ = false;
};

}  // namespace dinoxx
