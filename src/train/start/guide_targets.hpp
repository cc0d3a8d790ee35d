#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dinoxx/data_pipeline/dataset.hpp"
#include "method/guides/guides.hpp"

namespace dinoxx {

/// What the heads of [guide] learn of each image: the columns of the data set.
class GuideTargets {
 public:
  GuideTargets() = default;
  /// `ids`: the training images, over which numbers are scaled to a mean of 0 and a variance of 1. UsageError: no such column, one without
  /// two different values on the training images, what is no number in a column of numbers.
  GuideTargets(const std::vector<GuideColumn>& columns, const Dataset& dataset, std::span<const uint64_t> ids);

  /// Of each column how many outputs its head has: its classes, 1 for numbers.
  std::vector<int64_t> outputs() const;
  /// Of these images, in this order, the targets of each column [images]: StepInput::guides.
  std::vector<at::Tensor> of(std::span<const uint64_t> ids) const;
  /// What is learned and forgotten, and what speaks against it; a line each.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  struct Column {
    bool number = false;
    int64_t outputs = 1;
    std::vector<int32_t> classes;  ///< of each id of the data set, -1 not known; empty of numbers
    std::vector<float> numbers;    ///< the same, NaN not known
  };
  std::vector<Column> columns_;
  std::vector<std::string> notes_;
};

/// Cramér's V of two columns over the images for which both are known: 0 where neither says anything about the other, 1 where one follows
/// from the other; 0 where a column has one value.
double association(std::span<const int32_t> a, std::span<const int32_t> b);

}  // namespace dinoxx
