#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "eval/run/eval_data.hpp"
#include "results/subgroup_text.hpp"

namespace dinoxx::eval {

/// Which value of a label column each image of an evaluation has: its site, its device, its sex.
struct Subgroups {
  std::string column;
  std::vector<std::string> names;
  std::vector<int32_t> of_memory, of_queries;  ///< per id, in [0, names); -1: none
};

/// One for each column of `columns`. UsageError (about --by): no such column, one twice, the column of the labels themselves, fewer than
/// two values among the queries.
std::vector<Subgroups> subgroups_of(const Dataset& dataset, const EvalData& data, std::span<const std::string> columns);

/// Scores of one method's `answers` [queries] in each subgroup that has queries: {column, without (queries that have no value), groups,
/// worst}. groups: [{name, memory, queries, correct, accuracy with its Wilson interval (interval95), balanced_accuracy (of the classes that
/// it has), expected, p, p_holm}] in the order of the names.
///
/// `expected` is the accuracy that the subgroup would have if every class were recognised in it as often as in all queries that have a
/// value: what its mix of classes alone explains. p: two-sided, of "answers are as often right here as in the other subgroups, class by
/// class" (Mantel and Haenszel 1959, without continuity correction; its normal approximation is rough for few images), null where nothing
/// varies; p_holm: for all subgroups together (multiple_tests.hpp). It takes images for independent, those of a group too.
///
/// worst: {name, accuracy, expected, queries, significant (p_holm below 0.05 and accuracy below expected)} of the lowest accuracy among
/// those with at least kLeastOfSubgroup queries; null where none has so many.
nlohmann::json subgroup_scores(const Subgroups& subgroups, const EvalData& data, std::span<const int32_t> answers);

/// For the terminal: of each protocol the method that the verdict would take (verdict_order.hpp), on the checkpoint's features, by each
/// column. "" where no score has subgroups.
std::string subgroup_table(const nlohmann::json& results);

}  // namespace dinoxx::eval
