// What the settings of logistic regression are chosen on. Private to the evaluation.
#pragma once
#include <string>
#include <vector>

#include "logistic_parts.hpp"

namespace dinoxx::eval {

/// How C is chosen: on the validation split, or on folds of the memory.
struct Trial {
  std::string by;
  std::vector<int> fold_of;  ///< of each memory row; empty: validation split
  int folds = 1;
  std::vector<int64_t> support;  ///< images tried, per class
  std::string none;              ///< why there is nothing to choose on
  int64_t images() const;        ///< of all classes
};

Trial plan_trial(const Dataset& dataset, const EvalData& data, uint64_t seed);

Part part_of_trial(const ProtocolInput& input, const Trial& trial, int fold);

/// The images that are tried, those of the first fold first: ids and labels, without logits.
HeldOutAnswers tried_images(const EvalData& data, const Trial& trial);

}  // namespace dinoxx::eval
