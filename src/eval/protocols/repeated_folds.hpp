// Small sets: how much a number depends on which images were there. Private to the protocols.
#pragma once
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "logistic_parts.hpp"

namespace dinoxx::eval {

/// Memory images below which cross-validation is always made, and above which never.
inline constexpr int64_t kSmallSet = 500, kLargestForFolds = 5000;

/// Whether cross-validation says more than these test images, or the memory is so small that it is made in any case. Never in training,
/// where a curve is wanted and not its interval.
bool wants_repeated_folds(const ProtocolInput& input);

/// One part of a repetition: what is learned from and what is tried, and of the former ids and units (units.hpp).
struct FoldTask {
  const Part& part;
  const std::vector<uint64_t>& ids;
  const std::vector<uint64_t>& units;
};
/// Gives the answers of each method to part.test; [methods][images].
using FoldAnswers = std::function<std::vector<std::vector<int32_t>>(const FoldTask& task)>;

/// 5 x 5 stratified folds of the memory, units kept together: {"folds", "repeats", "units": "images"|"groups", "methods": {METHOD:
/// {"balanced_accuracy", "accuracy": {"mean", "deviation", "interval95"}}}, "majority": {"accuracy", "balanced_accuracy"}}. The mean is
/// over repetitions, each counted as one test set; intervals of Nadeau and Bengio (2003, eq. 8) over the folds that test two classes or
/// more, cut at 0 and 1. Undefined where fewer than two classes can be held out. What is not defined is null with its reason. Collective.
nlohmann::json repeated_folds(const ProtocolInput& input, const std::vector<std::string>& methods, const FoldAnswers& answers);

/// The same of logistic regression, plain and logit-adjusted, C chosen anew by folds inside each part; "mean", "deviation" and "interval95"
/// are those of plain in balanced accuracy. Collective.
nlohmann::json repeated_folds_of_logistic(const ProtocolInput& input);

}  // namespace dinoxx::eval
