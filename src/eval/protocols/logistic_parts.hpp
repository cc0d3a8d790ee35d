// What fits of logistic regression in protocols share: the values of C, folds, and when a fit is too large. Private to the protocols.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "eval/run/protocols.hpp"

namespace dinoxx::eval {

inline constexpr double kLowestC = 1e-6, kHighestC = 1e5;
inline constexpr int kSteps = 12;
inline constexpr int kFolds = 5;
// Of the fits that C is chosen by, and of those that answer.
inline constexpr double kPathTolerance = 1e-6, kTolerance = 1e-8;

// Work of one iteration of a fit of all images: products, and an exponential for each image and class, which takes as long as 32
// multiplications.
double size_of_fit(double images, double classes, double dim);
inline constexpr double kLargestFit = 4e9;  // above it a path over C takes hours of one core

std::vector<double> values_of_c();

// What is learned from and what it is tried on.
struct Part {
  at::Tensor train, test;
  std::vector<int32_t> train_labels, test_labels;
  std::vector<int64_t> train_counts;
};

// The rows of `fold` are tried, all others learned from.
Part part_of(const at::Tensor& features, std::span<const int32_t> labels, const std::vector<int>& fold_of, int fold, int classes);

// correct[c] += right answers of class c.
void count_correct(const std::vector<int32_t>& labels, const std::vector<int32_t>& predictions, double* correct);
// Mean recall of the classes that were tried at all.
double mean_recall(std::span<const double> correct, std::span<const int64_t> support);
// Place of the largest value; equal: the first, which is the smallest C.
int best_of(std::span<const double> values);

}  // namespace dinoxx::eval
