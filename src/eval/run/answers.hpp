#pragma once
#include <span>
#include <string>
#include <vector>

#include "eval/subgroups/subgroups.hpp"
#include "evaluate.hpp"
#include "protocols.hpp"

namespace dinoxx::eval {

/// Answers of all embedders in one protocol.
struct ProtocolAnswers {
  const Protocol* protocol;
  nlohmann::json section;                            ///< of results.json
  std::vector<std::vector<Prediction>> predictions;  ///< per embedder
  std::vector<std::vector<ResampledFigure>> figures = {};
};

/// id, key, label, group (where any query has one: its number; empty: none), one column for each of `subgroups` and one for each embedder
/// and method; one line for each query.
std::string predictions_csv(const Dataset& dataset, const EvalData& data, std::span<const Subgroups> subgroups,
                            std::span<const Embedder> embedders, const ProtocolAnswers& answers);

/// Bootstrap intervals of all methods and of what is worth comparing: the checkpoint's headline method of each protocol against the same
/// method on the baselines and against the headline method of the first protocol; every other method of the checkpoint against its
/// protocol's headline; the first protocol's headline against the majority class. The scores go into the sections of `answered`, the
/// majority class and the comparisons into `results`. Where `leaked` (per query) is true for any, all scores get "without_leaks": count,
/// correct, accuracy, balanced_accuracy and macro_f1 of the other queries, with their intervals. Where there are `subgroups`, all scores
/// get "subgroups": subgroup_scores() of each. Where there are `ranks` of the classes, all scores get "ordered"
/// (ordered.hpp). Collective.
void add_intervals(const Dataset& dataset, const EvalData& data, std::span<const Subgroups> subgroups, std::span<const int32_t> ranks,
                   const std::vector<bool>& leaked, std::span<const Embedder> embedders, std::vector<ProtocolAnswers>& answered,
                   nlohmann::json& results, const EvaluateOptions& options, Communicator& comm);

}  // namespace dinoxx::eval
