#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "step/train_state.hpp"
#include "train.hpp"

namespace dinoxx {

/// What a checkpoint records beside the tensors.
struct RunFacts {
  std::string config_text;  ///< resolved, INI
  std::string fingerprint;  ///< of the data set
  uint64_t images = 0;
  nlohmann::json build;
  std::string cpu, communicator;
  int64_t threads = 1, batch_size = 0;
};

/// Saves the state, and weights for other programs beside it. Collective.
std::filesystem::path save_state(Communicator& comm, const std::filesystem::path& run, TrainState& state, const RunFacts& facts);

/// Loads the state and publishes it. Gives back one line for each claim that this resume loses ("bit for bit ..."); none: the run goes on
/// as if it had never stopped. Collective.
std::vector<std::string> load_state(Communicator& comm, const std::filesystem::path& checkpoint, TrainState& state, const RunFacts& facts);

/// The checkpoint that --resume names: "auto" the newest of `run` if any, "never" and the empty text none. Error when `run` holds a run already and "never"
/// would overwrite it.
std::optional<std::filesystem::path> choose_checkpoint(const std::string& resume, const std::filesystem::path& run);

}  // namespace dinoxx
