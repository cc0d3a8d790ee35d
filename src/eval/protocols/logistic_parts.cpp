#include <ATen/ATen.h>

#include <algorithm>

#include "logistic_parts.hpp"

namespace dinoxx::eval {

double size_of_fit(double images, double classes, double dim) {
  return images * classes * (std::min(images, dim) + 32);
}

std::vector<double> values_of_c() {
  return logarithmic_steps(kLowestC, kHighestC, kSteps);
}

Part part_of(const at::Tensor& features, std::span<const int32_t> labels, const std::vector<int>& fold_of, int fold, int classes) {
  std::vector<int64_t> train, test;
  Part part;
  for (size_t row = 0; row < fold_of.size(); ++row) {
    const bool tried = fold_of[row] == fold;
    (tried ? test : train).push_back(static_cast<int64_t>(row));
    (tried ? part.test_labels : part.train_labels).push_back(labels[row]);
  }
  part.train = features.index_select(0, at::tensor(train, at::kLong));
  part.test = features.index_select(0, at::tensor(test, at::kLong));
  part.train_counts = class_counts(part.train_labels, classes);
  return part;
}

void count_correct(const std::vector<int32_t>& labels, const std::vector<int32_t>& predictions, double* correct) {
  for (size_t i = 0; i < labels.size(); ++i) correct[labels[i]] += labels[i] == predictions[i];
}

double mean_recall(std::span<const double> correct, std::span<const int64_t> support) {
  double sum = 0, present = 0;
  for (size_t c = 0; c < support.size(); ++c) {
    if (support[c] == 0) continue;
    sum += correct[c] / static_cast<double>(support[c]);
    ++present;
  }
  return sum / present;
}

int best_of(std::span<const double> values) {
  return static_cast<int>(std::max_element(values.begin(), values.end()) - values.begin());
}

}  // namespace dinoxx::eval
