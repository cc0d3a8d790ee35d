#pragma once
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "eval/statistics/resampling.hpp"
#include "protocols.hpp"

namespace dinoxx::eval {

/// What results.json says of a method that has an answer for each query: count, correct, accuracy with its Wilson interval (interval95),
/// balanced_accuracy, macro_f1, mcc, top5 (from ten classes on, with probabilities), auroc and auprc (macro, one against the rest; with
/// probabilities), recall_many/medium/few, worst_class, classes [{name, memory, queries, predicted, correct, recall, interval95, precision,
/// precision95, f1, auroc, auprc}]. What is not defined is null, with the reason under "undefined".
nlohmann::json method_scores(const Dataset& dataset, const EvalData& data, const Prediction& prediction);

/// kResampledScores of each method in each of kResamples resamples, the same resamples for all methods: [methods * scores, resamples]
/// float64, method by method; NaN where a score is undefined. `labels` and each of `predictions` [queries]. Collective.
at::Tensor resampled_columns(const Resampler& resampler, std::span<const int32_t> labels,
                             std::span<const std::vector<int32_t>* const> predictions, int classes, int threads, Communicator& comm);

/// Bootstrap of the queries, drawn once for all methods: the percentile interval of each score, and for chosen pairs of methods the
/// interval of the difference.
struct MethodPair {
  size_t first, second;
};
struct BootstrapReport {
  nlohmann::json protocol;                                    ///< resamples, seed, how they are drawn
  std::vector<nlohmann::json> intervals;                      ///< per method {score: [low, high] or null}, with "undefined" for reasons
  std::vector<nlohmann::json> differences;                    ///< per pair {score: [low, high] or null}, first minus second
  std::vector<std::string> interval_notes, difference_notes;  ///< what these intervals do not see (note_on_spread); empty: nothing
  bool by_group = false;                                      ///< whole groups were drawn
};
BootstrapReport bootstrap_methods(const Dataset& dataset, const EvalData& data, std::span<const std::vector<int32_t>* const> predictions,
                                  std::span<const MethodPair> pairs, uint64_t seed, int threads, Communicator& comm);

}  // namespace dinoxx::eval
