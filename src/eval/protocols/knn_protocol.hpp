#pragma once
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "eval/classify/knn.hpp"
#include "eval/features/features.hpp"
#include "eval/run/eval_data.hpp"
#include "eval/run/protocols.hpp"

namespace dinoxx::eval {

/// One embedder's result. Equal on all ranks, and at any number of ranks and threads.
struct KnnResult {
  nlohmann::json scores;             ///< see run_knn
  std::vector<int32_t> predictions;  ///< headline prediction per query
};

struct KnnReport {
  nlohmann::json protocol;         ///< settings, transform, sources, counts
  std::vector<KnnResult> results;  ///< per embedder
};

/// The k-NN protocol alone: embeds memory and queries (embed_all), gathers them on every rank, lets each rank search for its own blocks of
/// queries, gathers the votes. Scores per embedder: feature_dim, headline {k, accuracy, interval95, balanced_accuracy, correct, count, top5
/// when there are 10 classes}, by_k {"10": .., "20": ..}, classes [{name, memory, queries, correct, recall, interval95}], balanced_vote
/// {by_k, headline}. Collective.
KnnReport run_knn(const Dataset& dataset, const EvalData& data, std::span<const Embedder> embedders, const KnnConfig& config,
                  const ExtractOptions& options, Communicator& comm);

}  // namespace dinoxx::eval
