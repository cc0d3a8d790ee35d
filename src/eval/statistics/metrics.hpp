#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace dinoxx::eval {

struct ClassScore {
  int64_t support = 0;  ///< queries of this class
  int64_t correct = 0;
};

/// Scores of one classifier over one set of queries.
struct Scores {
  int64_t count = 0, correct = 0, correct_top5 = 0;
  std::vector<ClassScore> classes;
  double accuracy() const;           ///< correct / count
  double top5() const;
  double balanced_accuracy() const;  ///< mean recall over the classes that have queries; classes without are left out
};

/// `labels` [Q] in [0, classes); `ranked` [Q, width]: predicted classes, best first, -1 = none. Top-5 looks at the first five.
Scores score(std::span<const int32_t> labels, std::span<const int32_t> ranked, int width, int classes);

/// Wilson score interval of a proportion at 95 % (Wilson 1927): honest for few trials, never outside [0, 1]. {0, 1} for trials == 0.
std::pair<double, double> wilson_interval(int64_t successes, int64_t trials);

}  // namespace dinoxx::eval
