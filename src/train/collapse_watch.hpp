#pragma once
#include <string>
#include <utility>
#include <vector>

#include "output/run_log.hpp"

namespace dinoxx {

/// Says it when the signs first tell of a collapse, and again after they had cleared.
class CollapseWatch {
 public:
  CollapseWatch(int64_t prototypes, RunLog& log) : prototypes_(prototypes), log_(log) {}
  /// Of a logged step behind the warm-up, where the first steps' signs tell nothing.
  void look(int64_t step, const std::vector<std::pair<std::string, double>>& terms);

 private:
  int64_t prototypes_;
  RunLog& log_;
  bool collapsed_ = false;
};

}  // namespace dinoxx
