#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "eval/classify/logistic.hpp"
#include "eval/features/model_source.hpp"
#include "eval/readout/readout.hpp"
#include "eval/readout/whitening.hpp"
#include "eval/run/protocols.hpp"

namespace dinoxx::eval {

/// A classifier on frozen features, and what tells whether an image is of a kind that it has learned from.
struct StoredHead {
  LinearModel model;     ///< of features of unit length
  nlohmann::json about;  ///< method, C, temperature, ...: "head" of predictions.json
  at::Tensor centre;     ///< [D] float64: mean of the references' features
  at::Tensor basis;      ///< [D, m] float64: their principal directions, at most one for two images, each to unit variance
  at::Tensor reference;  ///< [n, m] float64: training images in that space; at most kReferences
  /// Distance to the nearest reference above which an image is unlike all that was learned from: 95 of 100 training images are nearer to
  /// those of other folds, in a space that is made without them. Nothing where there are fewer than kFewReferences to tell by.
  std::optional<double> known_to;
  /// Of the images that C and temperature were chosen on; without images where there was nothing to choose, and for a tuned head.
  HeldOutAnswers held_out;
  std::optional<Whitening> whitening;  ///< of the features that all of this is of; nothing: as the network gives them
};

inline constexpr size_t kReferences = 5000, kFewReferences = 20;
inline constexpr double kKnownShare = 0.95;

/// Everything that a head depends on: weights, input, features, images, labels, method and seed.
nlohmann::json head_key(const Dataset& dataset, const EvalData& data, const LoadedModel& model, const ExtractOptions& input,
                        const Readout& readout, at::ScalarType precision, const std::string& method, uint64_t seed);

/// The tensors of a whitening for a file; none without one.
NamedTensors whitening_tensors(const std::optional<Whitening>& whitening);
/// Back from there. Error when they do not fit each other.
std::optional<Whitening> read_whitening(const SafetensorsFile& file);

/// FOLDER/head_HASH.safetensors.
std::filesystem::path head_file(const std::filesystem::path& folder, const nlohmann::json& key);
/// Nothing where there is no such file, or one that is damaged or of another key. Collective: all ranks read it, or none.
std::optional<StoredHead> read_head(const std::filesystem::path& file, const nlohmann::json& key, Communicator& comm);
/// By rename. The folder is made. Error as write_safetensors.
void write_head(const std::filesystem::path& file, const nlohmann::json& key, const StoredHead& head);

/// Rows of the memory that become references: all, or kReferences chosen by (seed, id).
std::vector<int64_t> reference_rows(const EvalData& data, uint64_t seed);
/// Fills in all but model and about from the features [n, D] of the memory's images `ids`.
void take_references(StoredHead& head, const Dataset& dataset, const std::vector<uint64_t>& ids, const at::Tensor& features);

/// Distance of each row of `features` to its nearest reference. [N]
std::vector<double> distance_to_training(const StoredHead& head, const at::Tensor& features);

/// Logits of all rows on every rank, in blocks, so that they are those of evaluation bit for bit. Collective.
at::Tensor head_logits(const LinearModel& model, const at::Tensor& features, int threads, Communicator& comm);

}  // namespace dinoxx::eval
