#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace dinoxx::eval {

/// Light fine-tuning: `--finetune.*` of "dinoxx eval", and what the protocol is told about the run.
struct FinetuneOptions {
  std::vector<std::string> methods;  ///< empty: all of tuning_names()
  int epochs = 10;
  int patience = 5;                                 ///< epochs without a better validation score after which a method ends
  int batch = 32;                                   ///< over all ranks
  std::vector<double> lr;                           ///< tried, the best on validation taken; empty: the method's own
  double layer_decay = 0.75;                        ///< of `full`: a block's rate is this times that of the block behind it
  int rank = 8;                                     ///< of `lora`
  double alpha = 16;                                ///< of `lora`: the product of its factors counts alpha / rank
  std::vector<std::string> targets{"qkv", "proj"};  ///< of `lora`, names out of lora_targets()
  double ema = 0;                                   ///< the weights that answer are this running mean of those that learn; 0: none
  double crop = 0.3;                                ///< smallest share of an image's area that a training crop shows; 1: whole images
  std::string loss = "cross_entropy", sampler = "plain";
  std::string save = "changed";  ///< "none", "changed": what differs from the checkpoint, "merged": the whole network too
  double max_minutes = 10;       ///< when nobody named this protocol and it would take longer, it is offered, not run
  bool by_name = true;           ///< the user named this protocol
  bool progress = false;         ///< a line for each epoch on stderr, rank 0
  nlohmann::json checkpoint;     ///< {"file", "crc32c"} of the weights that it starts from: goes into the files
  std::string config_text;       ///< the training's configuration where the weights have one: makes a merged file a checkpoint
};

/// Whether a protocol that nobody named is run, and the timing that says so.
struct FinetuneOffer {
  double seconds_per_image = 0;  ///< of a training step
  bool runs = false;
};

const std::vector<std::string>& finetune_losses();
const std::vector<std::string>& finetune_samplers();
const std::vector<std::string>& finetune_saves();

}  // namespace dinoxx::eval
