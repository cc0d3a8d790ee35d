#pragma once
#include <memory>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "train/train.hpp"

namespace dinoxx {

/// Data, ids and the resolved configuration: what start-up finds out before it makes a network.
struct Inputs {
  std::shared_ptr<const Dataset> dataset;
  std::vector<uint64_t> ids;
  Config config;
  std::vector<std::string> notes;  ///< values chosen for "auto"
};
std::shared_ptr<const Dataset> open_dataset(const std::filesystem::path& data);
/// Of the split "train"; UsageError when it is empty.
std::vector<uint64_t> training_ids(const Dataset& dataset, const std::filesystem::path& data);
Inputs open_inputs(const TrainOptions& options, Communicator& comm);

}  // namespace dinoxx
