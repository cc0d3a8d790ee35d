#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data_pipeline/labels/label_lists.hpp"
#include "eval/run/eval_data.hpp"

/// Images with several labels each: what is known of them, and what can be learned.
namespace dinoxx::eval {

/// Which image has which label: 1 it has it, 0 it has not, -1 not known. Each part is [images, labels], row by row, in the order of
/// EvalData's ids.
struct LabelTable {
  std::vector<std::string> names;
  std::vector<int8_t> memory, queries, validation;
  size_t labels() const { return names.size(); }
  /// One label of all images of a part.
  std::vector<int8_t> column(const std::vector<int8_t>& part, size_t label) const;
};
LabelTable label_table(const Dataset& dataset, const EvalData& data, std::span<const BinaryLabel> labels);

/// Images of a column that have the label, have it not, and of which it is not known.
struct LabelCount {
  int64_t yes = 0, no = 0, unknown = 0;
};
LabelCount count_labels(std::span<const int8_t> column);

}  // namespace dinoxx::eval
