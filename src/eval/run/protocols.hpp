#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "eval/classify/knn.hpp"
#include "eval/classify/logistic.hpp"
#include "eval/features/features.hpp"
#include "eval/finetune/finetune.hpp"
#include "eval/protocols/linear_probe.hpp"
#include "eval/statistics/paired.hpp"
#include "eval_data.hpp"

/// The protocols: each takes the same features and says what they are worth to one kind of user.
namespace dinoxx::eval {

/// SplitFeatures of one embedder on every rank, rows in the order of EvalData's ids, normalised, float32.
struct SplitFeatures {
  at::Tensor memory, queries, validation;  ///< [images, D]; validation undefined when it was not asked for
};

struct DecisionPlan;
struct LabelTable;

/// What a protocol works on. Equal on all ranks; so is what it returns, at any number of ranks and threads.
struct ProtocolInput {
  const Dataset& dataset;
  const EvalData& data;
  const Embedder& embedder;
  const SplitFeatures& features;
  const KnnConfig& knn;
  uint64_t seed;
  int threads;
  Communicator& comm;
  const ExtractOptions* images = nullptr;  ///< how images become network input, for a protocol that looks at them itself
  int linear_probe_views = kProbeViews;    ///< new crops of each training image that the linear probe learns from; 0: the evaluation's own
  const FinetuneOptions* finetune = nullptr;               ///< of the protocol finetune; none: its defaults
  std::optional<FinetuneOffer>* finetune_offer = nullptr;  ///< what it decided for the first embedder: holds for all; none: each by itself
  bool in_training = false;                                ///< on the way of a run: what costs time for an interval is left out
  bool keep_held_out = false;                              ///< ProtocolResult::held_out is wanted
  const DecisionPlan* decision = nullptr;                  ///< what the user wants instead of the most probable class; none: nothing
  const LabelTable* labels = nullptr;                      ///< of the protocol multi_label
};

/// A method that has an answer for each query.
struct Prediction {
  std::string method;
  std::vector<int32_t> classes;       ///< [queries]
  std::vector<double> probabilities;  ///< [queries, classes of the data]; empty when the method has none
  nlohmann::json details;             ///< what else is written beside its scores
};

/// Answers to images that were not learned from, each by a fit without it and its group: what settings are chosen on.
struct HeldOutAnswers {
  std::vector<uint64_t> ids;
  std::vector<int32_t> labels;
  std::vector<double> logits;  ///< [ids, classes of the data]
};
/// The same images as the queries of `data`, for all that scores answers.
EvalData as_queries(const EvalData& data, const HeldOutAnswers& held_out);

/// A file that a protocol leaves beside results.json.
struct ProtocolFile {
  std::string name;
  std::function<void(const std::filesystem::path& path)> write;  ///< called on rank 0
};

struct ProtocolResult {
  nlohmann::json scores;                 ///< of this embedder, beside the methods' scores
  std::vector<Prediction> predictions;   ///< the first is the protocol's headline
  std::vector<LinearModel> models;       ///< of `predictions`, where these are linear in the features; else empty
  std::vector<HeldOutAnswers> held_out;  ///< per prediction, where it was asked for; without images where there was nothing to choose on
  nlohmann::json run;                    ///< times and what depends on them: into results.json's "run"
  std::vector<ProtocolFile> files;
  std::vector<ResampledFigure> figures;  ///< in which embedders are compared by paired_differences
};

struct Protocol {
  std::string_view name;                                                   ///< its word (results/protocol_names.hpp)
  std::string_view key;                                                    ///< in results.json and names of files
  const char* what;                                                        ///< one line for --help
  const char* cost;                                                        ///< one line for --help
  bool uses_validation;                                                    ///< of EvalData
  bool reads_network;                                                      ///< learns from it, whatever features are chosen (Readout)
  nlohmann::json (*settings)(const EvalData& data, const KnnConfig& knn);  ///< that hold for all embedders
  ProtocolResult (*run)(const ProtocolInput& input);                       ///< collective
};
/// All, in the order of kProtocolNames.
const std::vector<Protocol>& protocols();

nlohmann::json knn_settings(const EvalData& data, const KnnConfig& knn);
ProtocolResult knn_protocol(const ProtocolInput& input);
nlohmann::json clustering_settings(const EvalData& data, const KnnConfig& knn);
ProtocolResult clustering_protocol(const ProtocolInput& input);
nlohmann::json few_shot_settings(const EvalData& data, const KnnConfig& knn);
ProtocolResult few_shot_protocol(const ProtocolInput& input);
nlohmann::json logistic_settings(const EvalData& data, const KnnConfig& knn);
ProtocolResult logistic_protocol(const ProtocolInput& input);

nlohmann::json linear_probe_settings(const EvalData& data, const KnnConfig& knn);
ProtocolResult linear_probe_protocol(const ProtocolInput& input);

nlohmann::json multi_label_settings(const EvalData& data, const KnnConfig& knn);
ProtocolResult multi_label_protocol(const ProtocolInput& input);

nlohmann::json finetune_settings(const EvalData& data, const KnnConfig& knn);
ProtocolResult finetune_protocol(const ProtocolInput& input);

nlohmann::json segmentation_settings(const EvalData& data, const KnnConfig& knn);
ProtocolResult segmentation_protocol(const ProtocolInput& input);

nlohmann::json match_settings(const EvalData& data, const KnnConfig& knn);
ProtocolResult match_protocol(const ProtocolInput& input);

/// Where images come from, how many, and how they become network input: stands in the settings of every protocol.
nlohmann::json describe_images(const EvalData& data, const ExtractOptions& options);

class FeatureCache;

/// This rank's part of the features of all images that the protocols look at, each image embedded exactly once over all ranks (checked), or
/// read from `cache`, which gets what it lacks. Collective.
struct LocalFeatures {
  FeatureSet memory, queries, validation;
};
LocalFeatures embed_all(const Dataset& dataset, const EvalData& data, bool with_validation, std::span<const Embedder> embedders,
                        const ExtractOptions& options, Communicator& comm, FeatureCache* cache = nullptr);
/// The features of embedder `e` on every rank; takes them out of `local`. Collective.
SplitFeatures take_features(LocalFeatures& local, size_t e, const EvalData& data, Communicator& comm);

/// Mean feature of the memory [D] float32: the same numbers at any number of threads. Collective.
at::Tensor memory_mean(const ProtocolInput& input);
/// Images of each class. [classes]
std::vector<int64_t> class_counts(std::span<const int32_t> labels, int classes);
/// The class's name, or its number.
std::string class_name(const Dataset& dataset, int32_t label);
std::vector<std::string> names_of_classes(const Dataset& dataset, int classes);

}  // namespace dinoxx::eval
