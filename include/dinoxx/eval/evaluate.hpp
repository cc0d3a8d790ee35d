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
  int threads = 1;
  std::string command_line;
  nlohmann::json build;
};

/// Names that `suites` and `baselines` may have.
const std::vector<std::string>& suite_names();
const std::vector<std::string>& baseline_names();
/// Comma-separated names, each one of `known`, none twice. UsageError with the nearest name. "none" alone is the empty list where `may_be_empty`.
std::vector<std::string> parse_names(const std::string& text, const std::vector<std::string>& known, const std::string& option, bool may_be_empty = false);

/// Evaluates and writes `out`/results.json, with `out`/predictions_knn.csv beside it: each query with its label and the headline prediction of the checkpoint and the baselines.
/// results.json is written last and both by rename, so that a folder with results.json is complete; after an error no file is left behind. Everything in results.json but its
/// "run" object (command, ranks, threads, times, versions) is the same at any number of ranks. Returns that JSON on every rank. Collective.
nlohmann::json evaluate(const EvaluateOptions& options, Communicator& comm);

/// The table for the terminal.
std::string results_table(const nlohmann::json& results);

}  // namespace dinoxx::eval
