#pragma once
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "step/train_state.hpp"

/// What of a run is saved: the state that a step changes, as the tensors of a checkpoint, with the facts that a resume compares.
namespace dinoxx {

/// What a checkpoint records beside the tensors.
struct RunFacts {
  std::string config_text;  ///< resolved, INI
  std::string fingerprint;  ///< of the data set
  uint64_t images = 0;
  nlohmann::json build;
  std::string cpu, communicator;
  int64_t threads = 1, batch_size = 0;
  uint64_t length = 0;                        ///< of the run, images
  std::map<std::string, std::string> chosen;  ///< keys that were "auto", and the value that the run has
  nlohmann::json frozen;                      ///< the frozen teacher's "file", "bytes" and "crc32c"; null: there is none
  int64_t branch = 0;                         ///< of the run (RunHistory::branch)
  bool stays = false;                         ///< this checkpoint is not to be removed when others are
  std::string sync;                           ///< how the state is spread over the ranks, "ddp" or "zero1 over 4 ranks"
  int64_t part_bytes = int64_t{1} << 62;      ///< of weights in a file for other programs; more go into several
};

/// Saves the state under the folder `checkpoints`, and weights for other programs beside it. Returns the checkpoint. Collective; an Error
/// on any rank is thrown on all.
std::filesystem::path save_state(Communicator& comm, const std::filesystem::path& checkpoints, TrainState& state, const RunFacts& facts);

/// About how many bytes a checkpoint of this state takes.
struct CheckpointBytes {
  int64_t shared = 0;   ///< the state; each rank writes an equal part
  int64_t chief = 0;    ///< what rank 0 writes beside it
  int64_t teacher = 0;  ///< the largest file of these
  int64_t all() const { return shared + chief; }
  int64_t largest_file(int ranks) const { return std::max(shared / ranks, teacher); }
};
CheckpointBytes checkpoint_bytes(const TrainState& state);

/// Loads the state and publishes it. Gives back one line for each claim that this resume loses ("bit for bit ..."); none: the run goes on
/// as if it had never stopped. UsageError, with the keys, for a checkpoint of another network, another function of the same tensors, or
/// another state of training (optimizer, centres, Gram teacher); DamagedCheckpoint's text where bytes are not as written. Collective.
std::vector<std::string> load_state(Communicator& comm, const std::filesystem::path& checkpoint, TrainState& state, const RunFacts& facts);

}  // namespace dinoxx
