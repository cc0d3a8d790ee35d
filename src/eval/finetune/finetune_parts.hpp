// What fine-tuning learns from, and how one method goes through its epochs. Private to the step.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eval/run/protocols.hpp"
#include "eval/statistics/calibration.hpp"
#include "finetune.hpp"
#include "tuner.hpp"

namespace dinoxx::eval {

// The memory cut into what is learned from and what the epoch (and the rate) is chosen on. The queries are no part of this.
struct TuneData {
  std::vector<uint64_t> train, validation;
  std::vector<int32_t> train_labels;       // in the head's classes
  std::vector<int32_t> validation_labels;  // in the data's classes
  at::Tensor train_features, validation_features;
  std::vector<int32_t> present;  // the data's class of each row of the head: those with training images
  std::vector<int64_t> counts;   // training images of each row of the head
  std::vector<int64_t> support;  // validation images of each of the data's classes
  std::string by;                // "val split", or how a part of the memory was taken
  std::string why_not;           // set: there is nothing to choose on, or to learn
};
TuneData plan_tuning(const ProtocolInput& input);

// The head of the logistic regression on the train part, in the coordinates of `zero`. Its C is that of least cross-entropy on validation:
// what recall alone would choose may be so steep that the first step of any rate destroys it. Collective.
struct ProbeHead {
  TunedHead head;
  double c = 1;
};
ProbeHead fit_probe(const ProtocolInput& input, const TuneData& data, const TunedHead& zero);
// All zeros, with centre and scale of the training features. Collective.
TunedHead zero_head(const ProtocolInput& input, const TuneData& data);

// This rank's part of a batch.
struct TuneBatch {
  at::Tensor images, labels;
  int64_t counted = 0;  // 0: images[0] only keeps the rank company
};
// Rows of `order` from `begin` to `end`, of all ranks; random resized crops and flips that are a function of (seed, epoch, place in the
// epoch). Collective.
TuneBatch read_batch(const ProtocolInput& input, const TuneData& data, std::span<const uint64_t> order, int64_t begin, int64_t end,
                     int64_t epoch, double smallest_crop);
std::string describe_crops(const ExtractOptions& images, double smallest);

// Logits [ids, head's classes] float64 on every rank, of the network as it was bound. Collective.
at::Tensor tuned_logits(const ProtocolInput& input, const TunedNetwork& network, const std::vector<uint64_t>& ids);
// Probabilities over the data's classes: 0 for a class without training images.
std::vector<double> tuned_probabilities(const at::Tensor& logits, const TuneData& data, int classes);

// How good logits are on the validation images: more mean recall is better, equal recall: less loss.
struct TuneScore {
  double recall = 0, loss = 0;
  bool finite = true;
  bool better_than(const TuneScore& other) const;
};
// That makes the logits of the validation images probabilities.
Stat temperature_of(const at::Tensor& logits, const TuneData& data);
TuneScore score_validation(const at::Tensor& logits, const TuneData& data, int classes);

// One method from its start to the weights of its best epoch.
struct Tuning {
  double lr = 0;
  int best_epoch = 0;  // 0: before the first step
  TuneScore best;
  bool diverged = false;
  Stat temperature;  // of the best epoch's logits, fitted on validation
  nlohmann::json epochs = nlohmann::json::array();
  double steps = 0, images = 0, seconds = 0;
};
// Leaves `network` bound to the weights of the best epoch. Collective.
Tuning tune(const ProtocolInput& input, const FinetuneOptions& options, const TuningMethod& method, double lr, const TuneData& data,
            TunedNetwork& network);

// Seconds that an image takes in training on one rank, the slowest rank's, by a few timed steps of the method that trains everything.
// Collective.
double seconds_per_image(const ProtocolInput& input, const FinetuneOptions& options, const TuneData& data);

// "finetune_METHOD.safetensors" and, if so asked, "finetune_METHOD_merged.safetensors".
std::vector<ProtocolFile> tuned_files(const Dataset& dataset, const FinetuneOptions& options, const TuningMethod& method,
                                      const TuneData& data, const ExtractOptions& images, const TunedNetwork& network,
                                      const Tuning& tuning);

}  // namespace dinoxx::eval
