#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace dinoxx::eval {

/// What a user wants instead of the most probable class, as typed.
struct DecisionRequest {
  std::vector<std::string> recalls;  ///< "CLASS=0.95"; one at most
  std::optional<double> confidence;  ///< with which the recall is to hold for new images; none: it is reached in validation
  std::vector<std::string> costs;    ///< "TRUE>ANSWER=10", * for every class; or one FILE.csv
  bool empty() const { return recalls.empty() && costs.empty() && !confidence; }
};

/// The same for the classes of a data set.
struct DecisionPlan {
  int32_t positive = -1;  ///< of a wanted recall; -1: costs are given
  double recall = 0;
  std::optional<double> confidence;
  std::vector<double> costs;  ///< [true class, answer]
};

/// What the request means, nullopt for an empty one. Costs: 0 for the right answer and 1 for every other, then each pair as it is typed,
/// the later over the earlier; or the file's: a header with a first field of any text and the names of the answers, then a line for each
/// true class, all classes in both, any order, numbers >= 0. `training_images`, `tried` [classes]: images that are learned from, and that
/// settings are chosen on. UsageError: recall and costs at once; several recalls, one outside (0, 1); a class that nobody knows (with the
/// nearest name), that is never answered, or that has no image to choose on; a confidence that these images cannot give; costs that are
/// negative, missing, or all 0.
std::optional<DecisionPlan> plan_decision(const DecisionRequest& request, const std::vector<std::string>& classes,
                                          std::span<const int64_t> training_images, std::span<const int64_t> tried);

}  // namespace dinoxx::eval
