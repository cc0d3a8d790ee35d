#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "eval/classify/knn.hpp"
#include "eval/decision/decision_request.hpp"
#include "eval/features/feature_cache.hpp"
#include "eval/features/model_source.hpp"
#include "eval/finetune/finetune.hpp"
#include "eval/protocols/linear_probe.hpp"
#include "eval/readout/readout.hpp"
#include "eval_data.hpp"

namespace dinoxx::eval {

struct EvaluateOptions : NetworkRun {
  std::filesystem::path data, out;
  std::vector<std::string> protocols;  ///< of protocol_names(); none: knn, of images with several labels multi_label
  std::vector<std::string> baselines{"untrained", "raw"};
  std::optional<Split> split;             ///< of the queries; default: test, else val, else a part of train
  std::optional<uint64_t> held_out_seed;  ///< of the part that is held out of data without test and val; default: the run's own seed
  LabelChoice labels;
  std::string ordered;          ///< the classes have this order (class_ranks); empty: none
  std::vector<std::string> by;  ///< label columns (find_label_column): every score also by what the test images have there (subgroups.hpp)
  Readout readout;              ///< of the checkpoint and the untrained network; whitening, learned from the memory, of raw pixels too
  KnnConfig knn;
  int linear_probe_views = kProbeViews;  ///< of each training image, for the linear probe; 0: features of the evaluation's own crop
  FinetuneOptions finetune;              ///< what the user says; evaluate() fills in the rest
  DecisionRequest decision;              ///< for the methods of the protocol logistic; empty: the most probable class alone
  uint64_t seed = 0;                     ///< of folds, draws, restarts, fine-tuning and resamples; the same for all checkpoints
  std::filesystem::path cache;           ///< folder of the features on disk (feature_cache.hpp); empty: none
  uint64_t cache_limit = FeatureCache::kDefaultLimit;     ///< bytes
  std::function<void(const std::string& line)> progress;  ///< a line about what goes on, every `progress_seconds`; on one rank alone
  double progress_seconds = 8;
  std::function<void(const std::string& line)> say;  ///< messages, as they come
};

/// Names that `protocols` and `baselines` may have: the words of the protocols and "all".
const std::vector<std::string>& protocol_names();
const std::vector<std::string>& baseline_names();
/// Comma-separated names of protocols out of `known`. An old word is taken for today's, and `say` (where given) is told so once for each.
/// UsageError as parse_names().
std::vector<std::string> parse_protocols(const std::string& text, const std::vector<std::string>& known, const std::string& option,
                                         const std::function<void(const std::string&)>& say = {});
/// Comma-separated names, each one of `known`, none twice. UsageError with the nearest name. "none" alone is the empty list where
/// `may_be_empty`.
std::vector<std::string> parse_names(const std::string& text, const std::vector<std::string>& known, const std::string& option,
                                     bool may_be_empty = false);

/// Evaluates and writes `out`/results.json, with `out`/predictions_KEY.csv beside it for each protocol whose methods answer every query:
/// the query, its label, its group where there are any, and a column EMBEDDER:METHOD of answers each. results.json is written last and all
/// by rename, so that a folder with results.json is complete; after an error no file is left behind. Everything in results.json but its
/// "run" object (command, host, ranks, threads, times (cost_record.hpp), versions, what came from the cache) is the same at any number of
/// ranks, with the cache and without it. Returns that JSON on every rank. Collective.
///
/// Beside "checkpoint" and "data": "checks" (checks.hpp), "majority" (the scores of always saying the most frequent class), "suites":
/// {KEY: {"protocol", "predictions", "results": [per embedder {name, description, feature_dim, ..., methods: {METHOD: method_scores() with
/// "bootstrap95", and "bootstrap95_note" where the classes' images leave it too narrow}}]}}, "bootstrap" (how), "comparisons": [{first,
/// second, mcnemar, difference95}] (with difference95_note, and mcnemar.note where whole groups are drawn) and methods named [protocol key,
/// embedder, method], "evidence": {labels, neighbours, images} of the first embedder (evidence.hpp, feature_pictures.hpp; their PNGs stand
/// beside results.json), "feature_health": [per embedder] (feature_health.hpp). The first embedder's methods with probabilities also have
/// "ranking_curves" (ranking_curves.hpp). With `decision` the methods of logistic regression have "decision" {rule, validation, test}
/// (decision_scores.hpp).
nlohmann::json evaluate(const EvaluateOptions& options, Communicator& comm);

/// The table for the terminal.
std::string results_table(const nlohmann::json& results);

}  // namespace dinoxx::eval
