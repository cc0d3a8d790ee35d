#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "eval/classify/knn.hpp"
#include "eval/features/features.hpp"
#include "eval_data.hpp"

namespace dinoxx::eval {

/// Words of the protocols that training may run: those that look at features and fit little, and leave networks alone.
const std::vector<std::string>& probe_names();

struct ProbeConfig {
  Normalization normalization;                ///< of the run's views
  std::vector<std::string> protocols{"knn"};  ///< of probe_names()
  KnnConfig knn;
  int image_size = 224;
  uint64_t seed = 0;                ///< of the run; chooses the held-out part
  double held_out = kHeldOutShare;  ///< share of train that is scored when there is no val split
  int64_t max_memory = 0;           ///< memory images; 0: all
  int threads = 1;
};

/// Protocols on the teacher while training runs: scored on val, or without one on a part of train that is held out of the memory
/// (training still sees it: it has no labels there). Settings are chosen inside the memory. Never looks at test. Changes no bit of
/// training: draws no random numbers, builds no graph, leaves thread settings and parameters alone. Its failure is reported, never thrown.
class TrainProbe {
 public:
  /// Data that cannot be scored (no labels, one class) turns the probe off; off_reason() says why.
  TrainProbe(std::shared_ptr<const Dataset> dataset, std::shared_ptr<Communicator> comm, ProbeConfig config);
  const std::string& off_reason() const { return off_reason_; }

  /// With the keys of protocols (results/protocol_names.hpp): {"suite": "knn,linear", "step", "queries", "count", "seconds"}, or with
  /// "error": text instead. Of k-NN: "k", "accuracy", "balanced_accuracy", "by_k": {"10": ..}. Of the others "steps": {"linear":
  /// {"plain_accuracy": 0.9, ..}, ..}, one number for each figure that is defined, or "left_out": why. Collective; equal on all ranks
  /// except for seconds.
  nlohmann::json operator()(const Backbone& teacher, int64_t step) const;

 private:
  std::shared_ptr<const Dataset> dataset_;
  std::shared_ptr<Communicator> comm_;
  ProbeConfig config_;
  std::optional<EvalData> data_;
  std::optional<ExtractOptions> extract_;  ///< like data_: nothing where the probe is off
  std::string off_reason_;
};

}  // namespace dinoxx::eval
