#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "dinoxx/comm/communicator.hpp"
#include "eval/decision/decision_request.hpp"
#include "eval/features/model_source.hpp"
#include "eval/readout/readout.hpp"
#include "eval/run/eval_data.hpp"

namespace dinoxx::eval {

struct PredictOptions : NetworkRun {
  std::filesystem::path classifier;  ///< a file of write_classifier(): then all but images, out, threads and model.device stand in it
  std::filesystem::path data, images, out;  ///< out: FILE.csv; without images and out only `save` is made
  std::filesystem::path save;               ///< the classifier as one file (classifier.hpp); empty: none
  std::string method = "plain";  ///< of the protocol logistic: plain, class_weighted, logit_adjusted; finetuned: the file's own head
  Readout readout;               ///< what the head is fitted on; not with the file's own head
  DecisionRequest decision;      ///< instead of the most probable class; empty: that
  LabelChoice labels;
  uint64_t seed = 0;            ///< of the folds; that of evaluate(), so that both fit the same head
  std::filesystem::path cache;  ///< folder of fitted heads, so that a second call embeds no training image; empty: none
  std::function<void(int64_t done, int64_t total)> progress;  ///< images of all ranks, as this rank estimates it; from several threads
};

/// Names that `method` may have.
const std::vector<std::string>& predict_methods();
inline constexpr const char *kPlainMethod = "plain", *kFinetunedMethod = "finetuned";

/// Fits the head of the protocol logistic ( C and temperature chosen on val where there is one, else on folds) on the labelled
/// train images of `data`, or takes it from `cache` or from `classifier`, and classifies every image below `images`. Writes `out`, a line
/// per image: path, predicted (class), probability (its, calibrated), training_images (of that class), error (why the image could not be
/// read; then nothing else), p:CLASS for each class, unknown ("yes": unlike all training images, stored_head.hpp; then it has no predicted
/// class), distance (to the nearest training image) and closest (the answer also to an unknown image); and beside it, with the ending
/// .json, where it is from. Both by rename, `out` last. Images become network input as those of `data` do; where all of these are stored in
/// the network's size, others are fitted to it by their short side. `save` is written before them. The table is the same bit for bit
/// whether the classifier comes from `data` or from the file that was saved.
///
/// With method "finetuned" nothing is fitted: head and temperature are those of a merged file of fine-tuning, and `data` only names the
/// classes and counts their training images.
///
/// Where images have several labels (`labels`), the head is that of the protocol multi_label and the table has, between path and unknown:
/// predicted (the labels, with ";" between), error, p:LABEL for each.
///
/// Returns that JSON on every rank: {checkpoint, data, images: {folder, read, unreadable: [{path, error}], unknown: [{path, distance}]},
/// head: {method, C, temperature (null with the reason under "undefined": then probabilities are not calibrated), validation
/// (validation_scores.hpp), ...}, classes: [{name, training_images, predicted}], untrusted: [names of classes with fewer than kFewBelow
/// training images], decision: {rule, validation} (decision_scores.hpp), run}; without `images` and the classes' `predicted` when there are
/// none; with "classifier" {file, crc32c, build} of the file that it was taken from. The same but for "run" at any number of ranks.
/// Collective. UsageError: no labelled train images of two classes, no images, a head that would be too large to fit, a place that `save`
/// cannot have; errors as load_classifier().
nlohmann::json predict_folder(const PredictOptions& options, Communicator& comm);

/// For the terminal (prediction_text.cpp).
std::string prediction_text(const nlohmann::json& summary);

}  // namespace dinoxx::eval
