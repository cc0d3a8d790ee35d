// From a network and a data set to a classifier. Private to predict.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "classifier.hpp"
#include "data_pipeline/labels/label_lists.hpp"
#include "eval/finetune/finetuned_head.hpp"
#include "eval/multi_label/label_table.hpp"
#include "predict.hpp"

namespace dinoxx::eval {

/// Rows of features of a number of images, given what writes the network input of each. Collective.
using EmbedImages = std::function<at::Tensor(int64_t count, const std::function<void(int64_t item, float* input)>& input)>;

/// Finds the head of earlier calls on disk, or fits one, or takes that of a merged file of fine-tuning.
class HeadFitting {
 public:
  /// `model` must outlive it. UsageError as predict_folder.
  HeadFitting(const PredictOptions& options, const LoadedModel& model);
  const ClassifierInput& input() const { return input_; }
  /// Looks on disk and decides which images have to be embedded. Collective.
  void begin(Communicator& comm);
  /// So many images will be embedded by fit().
  int64_t images() const { return static_cast<int64_t>(learned_.size() + validation_.size()); }
  /// Collective.
  Classifier fit(const Embedder& embedder, const EmbedImages& embed, Communicator& comm);

  /// Whether the head was there before.
  bool stored() const { return stored_.has_value(); }
  /// Where the head stays for the next call; empty: nowhere.
  const std::filesystem::path& file() const { return file_; }
  /// Writes it there unless it is there. On one rank. Error as write_safetensors.
  void keep(const Classifier& classifier) const;

 private:
  void decide_by(Classifier& classifier, Communicator& comm) const;
  StoredHead fitted(const Embedder& embedder, const EmbedImages& embed, Communicator& comm) const;

  StoredHead fitted_labels(const ProtocolInput& input) const;

  const PredictOptions& options_;
  const LoadedModel& model_;
  std::vector<BinaryLabel> labels_;  // of which an image may have several; empty: one class an image
  std::shared_ptr<const Dataset> dataset_;
  EvalData data_;
  LabelTable table_;  // of labels_
  std::string method_;
  ClassifierInput input_;
  std::optional<DecisionPlan> decision_;
  std::optional<FinetunedHead> tuned_;  // the file's own head; else one is fitted
  nlohmann::json key_;
  std::filesystem::path file_;
  std::optional<StoredHead> stored_;
  std::vector<uint64_t> learned_, validation_;  // to be embedded
};

}  // namespace dinoxx::eval
