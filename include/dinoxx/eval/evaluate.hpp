#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "dinoxx/data/dataset.hpp"
#include "dinoxx/eval/knn.hpp"
#include "dinoxx/eval/model_source.hpp"

namespace dinoxx::eval {

struct EvaluateOptions {
  ModelRequest model;
  std::filesystem::path data, out;
  std::vector<std::string> suites{"knn"};
  std::vector<std::string> baselines{"untrained", "raw"};
  std::optional<Split> split;     ///< of the queries; default: test, else val, else a part of train
  std::optional<int> image_size;  ///< default: what training showed
  KnnConfig knn;
  uint64_t seed = 0;  ///< of folds, draws, restarts and resamples; the same for all checkpoints
  int threads = 1;
  std::string command_line;
  nlohmann::json build;
};

/// Names that `suites` and `baselines` may have: the steps of the ladder and "ladder" for all of them.
const std::vector<std::string>& suite_names();
const std::vector<std::string>& baseline_names();
/// Comma-separated names, each one of `known`, none twice. UsageError with the nearest name. "none" alone is the empty list where
/// `may_be_empty`.
std::vector<std::string> parse_names(const std::string& text, const std::vector<std::string>& known, const std::string& option,
                                     bool may_be_empty = false);

/// Evaluates and writes `out`/results.json, with `out`/predictions_STEP.csv beside it for each step whose methods answer every query: the
/// query, its label and a column EMBEDDER:METHOD of answers each. results.json is written last and all by rename, so that a folder with
/// results.json is complete; after an error no file is left behind. Everything in results.json but its "run" object (command, ranks,
/// threads, times, versions) is the same at any number of ranks. Returns that JSON on every rank. Collective.
///
/// Beside "checkpoint" and "data": "checks" (checks.hpp), "majority" (the scores of always saying the most frequent class), "suites":
/// {STEP: {"protocol", "predictions", "results": [per embedder {name, description, feature_dim, ..., methods: {METHOD: method_scores() with
/// "bootstrap95"}}]}}, "bootstrap" (how), "comparisons": [{first, second, mcnemar, differences}] with methods named [step, embedder,
/// method].
nlohmann::json evaluate(const EvaluateOptions& options, Communicator& comm);

/// The table for the terminal.
std::string results_table(const nlohmann::json& results);

}  // namespace dinoxx::eval
