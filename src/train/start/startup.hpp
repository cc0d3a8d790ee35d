#pragma once
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "guide_targets.hpp"
#include "origin.hpp"
#include "train/train.hpp"

namespace dinoxx {

/// Data, ids and the resolved configuration: what start-up finds out before it makes a network.
struct Inputs {
  std::shared_ptr<const Dataset> dataset;
  std::vector<uint64_t> ids;
  Config config;
  std::set<std::string> chosen;    ///< keys whose value the program chose, now or where the run began
  std::vector<std::string> notes;  ///< values chosen for "auto"
  GuideTargets guides;             ///< of the columns of [guide]
};
std::shared_ptr<const Dataset> open_dataset(const std::filesystem::path& data);
/// Of the split "train"; UsageError when it is empty.
std::vector<uint64_t> training_ids(const Dataset& dataset, const std::filesystem::path& data);
/// Opens the data and resolves the configuration: where the run goes on, what is open has the value of the checkpoint. UsageError where the
/// configuration cannot go on from it. Collective.
Inputs open_inputs(const TrainOptions& options, Communicator& comm, const Origin& origin);

}  // namespace dinoxx
