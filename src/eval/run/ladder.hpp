#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "eval/classify/knn.hpp"
#include "eval/features/features.hpp"
#include "eval/finetune/finetune.hpp"
#include "eval/protocols/sweep.hpp"
#include "eval/statistics/paired.hpp"
#include "eval_data.hpp"

/// The steps of the ladder: each takes the same features and says what they are worth to one kind of user.
namespace dinoxx::eval {

/// SplitFeatures of one embedder on every rank, rows in the order of EvalData's ids, normalised, float32.
struct SplitFeatures {
  at::Tensor memory, queries, validation;  ///< [images, D]; validation undefined when it was not asked for
};

/// What a step works on. Equal on all ranks; so is what a step returns, at any number of ranks and threads.
struct StepInput {
  const Dataset& dataset;
  const EvalData& data;
  const Embedder& embedder;
  const SplitFeatures& features;
  const KnnConfig& knn;
  uint64_t seed;
  int threads;
  Communicator& comm;
  const ExtractOptions* images = nullptr;  ///< how images become network input, for a step that looks at them itself
  int sweep_views = kSweepViews;           ///< new crops of each training image that the sweep learns from; 0: the evaluation's own
  const FinetuneOptions* finetune = nullptr;  ///< of the step finetune; none: its defaults
  std::optional<FinetuneOffer>* finetune_offer = nullptr;  ///< what it decided for the first embedder: holds for all; none: each by itself
};

/// A method that has an answer for each query.
struct Prediction {
  std::string method;
  std::vector<int32_t> classes;       ///< [queries]
  std::vector<double> probabilities;  ///< [queries, classes of the data]; empty when the method has none
  nlohmann::json details;             ///< what else is to stand beside its scores
};

/// A file that a step leaves beside results.json.
struct StepFile {
  std::string name;
  std::function<void(const std::filesystem::path& path)> write;  ///< called on rank 0
};

struct StepResult {
  nlohmann::json scores;                ///< of this embedder, beside the methods' scores
  std::vector<Prediction> predictions;  ///< the first is the step's headline
  nlohmann::json run;                   ///< times and what depends on them: into results.json's "run"
  std::vector<StepFile> files;
  std::vector<ResampledFigure> figures;  ///< in which embedders are compared by paired_differences
};

struct Step {
  const char* name;                                                        ///< in --suite and results.json
  const char* what;                                                        ///< one line for --help
  const char* cost;                                                        ///< one line for --help
  bool uses_validation;                                                    ///< of EvalData
  nlohmann::json (*protocol)(const EvalData& data, const KnnConfig& knn);  ///< settings that hold for all embedders
  StepResult (*run)(const StepInput& input);                               ///< collective
};
/// All steps, in the order of the ladder.
const std::vector<Step>& ladder();

nlohmann::json knn_protocol(const EvalData& data, const KnnConfig& knn);
StepResult knn_step(const StepInput& input);
nlohmann::json zero_protocol(const EvalData& data, const KnnConfig& knn);
StepResult zero_step(const StepInput& input);
nlohmann::json few_protocol(const EvalData& data, const KnnConfig& knn);
StepResult few_step(const StepInput& input);
nlohmann::json linear_protocol(const EvalData& data, const KnnConfig& knn);
StepResult linear_step(const StepInput& input);

nlohmann::json sweep_protocol(const EvalData& data, const KnnConfig& knn);
StepResult sweep_step(const StepInput& input);

nlohmann::json finetune_protocol(const EvalData& data, const KnnConfig& knn);
StepResult finetune_step(const StepInput& input);

nlohmann::json linseg_protocol(const EvalData& data, const KnnConfig& knn);
StepResult linseg_step(const StepInput& input);

nlohmann::json match_protocol(const EvalData& data, const KnnConfig& knn);
StepResult match_step(const StepInput& input);

/// Where images come from, how many, and how they become network input: stands in the protocol of every step.
nlohmann::json describe_images(const EvalData& data, const ExtractOptions& options);

class FeatureCache;

/// This rank's part of the features of all images that the steps look at, each image embedded exactly once over all ranks (checked), or
/// read from `cache`, which gets what it lacks. Collective.
struct LocalFeatures {
  FeatureSet memory, queries, validation;
};
LocalFeatures embed_all(const Dataset& dataset, const EvalData& data, bool with_validation, std::span<const Embedder> embedders,
                        const ExtractOptions& options, Communicator& comm, FeatureCache* cache = nullptr);
/// The features of embedder `e` on every rank; takes them out of `local`. Collective.
SplitFeatures take_features(LocalFeatures& local, size_t e, const EvalData& data, Communicator& comm);

/// Mean feature of the memory [D] float32: the same numbers at any number of threads. Collective.
at::Tensor memory_mean(const StepInput& input);
/// Images of each class. [classes]
std::vector<int64_t> class_counts(std::span<const int32_t> labels, int classes);
/// The class's name, or its number.
std::string class_name(const Dataset& dataset, int32_t label);

}  // namespace dinoxx::eval
