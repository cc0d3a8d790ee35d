#include "logistic_trial.hpp"

#include <ATen/ATen.h>

#include <numeric>

#include "eval/classify/folds.hpp"
#include "eval/classify/units.hpp"

namespace dinoxx::eval {

int64_t Trial::images() const {
  return std::accumulate(support.begin(), support.end(), int64_t{0});
}

Trial plan_trial(const Dataset& dataset, const EvalData& data, uint64_t seed) {
  Trial trial;
  if (!data.validation.empty()) {
    trial.by = "val split";
    trial.support = class_counts(data.validation_labels, data.classes);
    return trial;
  }
  trial.folds = kFolds;
  trial.by = fmt::format("{} stratified folds of the memory", kFolds);
  trial.fold_of = stratified_folds(data.memory, data.memory_labels, units_of(dataset, data.memory), data.classes, kFolds, seed);
  trial.support = class_counts(tried_images(data, trial).labels, data.classes);
  if (trial.images() == 0) trial.none = "no class has two training images (or groups) to try a setting on";
  return trial;
}

Part part_of_trial(const ProtocolInput& input, const Trial& trial, int fold) {
  const EvalData& data = input.data;
  if (!trial.fold_of.empty()) return part_of(input.features.memory, data.memory_labels, trial.fold_of, fold, data.classes);
  return {input.features.memory, input.features.validation, data.memory_labels, data.validation_labels,
          class_counts(data.memory_labels, data.classes)};
}

HeldOutAnswers tried_images(const EvalData& data, const Trial& trial) {
  if (trial.fold_of.empty()) return {data.validation, data.validation_labels, {}};
  HeldOutAnswers tried;
  for (int fold = 0; fold < trial.folds; ++fold)
    for (size_t row = 0; row < trial.fold_of.size(); ++row) {
      if (trial.fold_of[row] != fold) continue;
      tried.ids.push_back(data.memory[row]);
      tried.labels.push_back(data.memory_labels[row]);
    }
  return tried;
}

}  // namespace dinoxx::eval
