#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "eval/run/evaluate.hpp"

namespace dinoxx::eval {

/// What one of several checkpoints became.
struct EvaluatedCheckpoint {
  std::string name;  ///< of its folder below `out`
  std::filesystem::path folder;
  bool reused = false;  ///< the results were there, of the same request (request.hpp)
  const nlohmann::json& results;
};

/// Names of folders for checkpoints, each another: what a path ends with, without the ending of a weight file, with as many parents in
/// front, joined by "_", as tell them apart.
std::vector<std::string> folder_names(const std::vector<std::filesystem::path>& checkpoints);

/// Evaluates each checkpoint into a folder of its own below options.out, then puts them side by side: options.out/comparison.json
/// (compare_evaluations(); "folder" is relative to it), which is returned on every rank. All checkpoints are read before anything is
/// computed. A folder whose results.json is of the same request is taken as it is. The part that is held out of data without test and val
/// is drawn by options.seed, not by the seed of each run, so that it is the same for all. `evaluated` is called on rank 0 after each.
///
/// options.model.checkpoint is not looked at. UsageError: a checkpoint twice; a step or model.* settings, which belong to one network;
/// options.out has the results of a single evaluation; errors of evaluate(), with the checkpoint's name in front. What was evaluated before
/// an error stays, and a second call goes on from there. Collective.
nlohmann::json evaluate_several(const EvaluateOptions& options, const std::vector<std::filesystem::path>& checkpoints,
                                const std::function<void(const EvaluatedCheckpoint&)>& evaluated, Communicator& comm);

}  // namespace dinoxx::eval
