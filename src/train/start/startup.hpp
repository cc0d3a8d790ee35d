#pragma once
#include <memory>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "train/train.hpp"

namespace dinoxx {

/// Error naming the ranks that see another text than rank 0: different configurations, data or programs must not train together.
/// Collective.
void ranks_must_agree(Communicator& comm, const std::string& text, const std::string& what);

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

/// Each rank's text, on all ranks. Collective.
std::vector<std::string> gather_texts(Communicator& comm, const std::string& text);

}  // namespace dinoxx
