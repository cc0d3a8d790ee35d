#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/normalization.hpp"
#include "data_pipeline/augment/views.hpp"
#include "eval/decision/decision_rule.hpp"
#include "eval/features/model_source.hpp"
#include "formats/weight_file.hpp"
#include "stored_head.hpp"

namespace dinoxx::eval {

/// How a picture becomes the network's input.
struct ClassifierInput {
  EvalTransform transform;
  bool whole = false;           ///< `transform` shows whole images, resized to the input's square
  Normalization normalization;  ///< the network's own
  int used_bits = 16;           ///< of 16-bit PNG, as the training images were packed (Dataset::used_bits)
};

/// All that an answer needs beside the network, and where it is from.
struct Classifier {
  Readout readout;  ///< what of the network the head is of
  StoredHead head;  ///< held_out is no part of a file
  std::vector<std::string> classes;
  std::vector<int64_t> training_images;  ///< of each class
  DecisionRule rule;
  nlohmann::json rule_in_validation;  ///< decision_in_validation(); null for the most probable class and where there are no such images
  ClassifierInput input;
  at::ScalarType precision = at::kFloat;  ///< of the network
  nlohmann::json checkpoint;              ///< {file, crc32c, step, input, facts, notes} of the weights that it was made with
  nlohmann::json data;                    ///< {fingerprint, ...} of the data that it has learned from
};

/// One file with network and classifier, from which predict answers alone. safetensors: "backbone.*", which also makes it a file of weights
/// for all other commands; "head.weight", "head.bias"; "known.centre", "known.basis", "known.reference" and, where features are whitened,
/// "whitening.mean", "whitening.matrix" (of StoredHead); metadata kBackboneKey, kNormalizationKey, kFactsKey and "dinoxx.classifier" with
/// the rest, {"format", "version", "classes", "input", "features" (of version 2 alone), "head", "decision" {rule, validation}, "known_to",
/// "precision", "checkpoint", "data", "build"}; and a checksum of all of it. By rename. Error as write_safetensors.
void write_classifier(const std::filesystem::path& file, const Classifier& classifier, const Backbone& network,
                      const nlohmann::json& build);
/// UsageError naming --save for a place that is no safetensors file in a folder that is there, or that another file is at.
void check_place_of_classifier(const std::filesystem::path& file);

/// What a file says of the classifier in it; null: there is none. Error: a newer version than this program's, or another text.
nlohmann::json classifier_in(const WeightFile& file);
/// For a person, a line each: classes, head, score, unknown images.
std::vector<std::string> classifier_lines(const nlohmann::json& in_file);

struct LoadedClassifier {
  LoadedModel model;
  Classifier classifier;
  nlohmann::json build;  ///< of the program that wrote it
};
/// UsageError: no such file, one without a classifier; Error: a damaged one, a newer version.
LoadedClassifier load_classifier(const std::filesystem::path& file, at::Device device);

}  // namespace dinoxx::eval
