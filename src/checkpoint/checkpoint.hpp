#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "history/checkpoint_folders.hpp"
#include "parallel/param_layout.hpp"

namespace dinoxx {

/// What a checkpoint holds, as handles to tensors; those to be saved may be on a GPU.
struct CheckpointTensors {
  const ParamLayout* layout = nullptr;
  NamedTensors split;       ///< [layout->numel] each, "student", "adamw.exp_avg" ...: every rank writes a range of equal length
  NamedTensors replicated;  ///< equal on all ranks, rank 0 writes them: "centre", "adamw.step/<segment>"
};

/// Weights that rank 0 writes beside, for other programs: file name -> tensors and metadata.
struct SideFile {
  std::string file;
  NamedTensors tensors;  ///< CPU, contiguous
  std::map<std::string, std::string> metadata;
};

/// Writes `checkpoints/step_00001000` so that it is there completely or not at all: files aside, each with its CRC32C, manifest.json last,
/// everything synced, then the folder renamed. Entries are described by name and range ("adamw.exp_avg/head.mlp.0.weight[0:512]"), so any
/// number of ranks can load them. `facts` go into the manifest (step is added). Collective; an Error on any rank is thrown on all, and
/// nothing half written stays.
std::filesystem::path save_checkpoint(Communicator& comm, const std::filesystem::path& checkpoints, int64_t step,
                                      const CheckpointTensors& tensors, const std::vector<SideFile>& weights, nlohmann::json facts);

/// Fills all tensors after comparing every file's size and CRC32C with the manifest. Every element must be there exactly once, in its type;
/// another world size and another layout of the same parameters are fine. Collective, Error on all ranks.
void load_checkpoint(Communicator& comm, const std::filesystem::path& checkpoint, const CheckpointTensors& tensors);

}  // namespace dinoxx
