#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dinoxx/data_pipeline/dataset.hpp"

namespace dinoxx::eval {

/// Which labels are meant.
struct LabelChoice {
  std::string column;        ///< of the data set (find_label_column); empty: its first
  std::string several;       ///< an image may have several labels (find_binary_labels): these are scored; empty: one label an image
  bool merge_names = false;  ///< classes whose names differ only in case, blanks, hyphens and underscores are one (label_checks.hpp)
};

/// Which images an evaluation learns from (memory) and which it is scored on (queries). Ids ascend and no id is in both.
struct EvalData {
  std::vector<uint64_t> memory, queries;
  std::vector<int32_t> memory_labels, query_labels;  ///< per id, in [0, classes)
  /// Images of val of classes that the memory has, when the queries are test: settings may be chosen on them. Empty otherwise.
  std::vector<uint64_t> validation;
  std::vector<int32_t> validation_labels;
  int classes = 0;
  std::string memory_source, query_source;  ///< "train", "test", "val", "part of train held out of the memory"
  int64_t unlabelled = 0;                   ///< images of these splits that have no label and are left out
  std::vector<std::string> notes;           ///< what differs from the usual protocol, for the user to read
};

/// Share of each class of train that is held out of the memory when the data set has no split for the queries.
inline constexpr double kHeldOutShare = 0.1;

/// Takes validation images of classes that the memory lacks away, with a note: no setting has them right, so that they choose by noise.
void drop_unseen_validation(EvalData& data);

/// For the eval command: memory = train; queries = `split`, or by default test, else val, else a held-out part of train (each fallback is a
/// note; a split without any label is passed over). The held-out part is cut by units (units.hpp): no group and no picture is on both
/// sides. UsageError: no train split, a requested split that is empty or has no labels, one class only.
EvalData choose_eval_data(const Dataset& dataset, std::optional<Split> split, uint64_t seed);

/// For evaluation inside training: memory = train, queries = val, or else about the share `held_out` of each class of train, cut in the
/// same way (0: UsageError). Never looks at test. A memory above `max_memory` images (0: no limit) is thinned out to that many, chosen by
/// (seed, id) alone, and a note says so. Errors as above.
EvalData choose_probe_data(const Dataset& dataset, uint64_t seed, double held_out = kHeldOutShare, int64_t max_memory = 0);

}  // namespace dinoxx::eval
