#pragma once
#include <filesystem>
#include <functional>
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
  const ParamLayout* layout = nullptr;  ///< of what this rank holds: of a shard, or of all
  NamedTensors split;  ///< [layout->numel] each, "student", "adamw.exp_avg" ...: the ranks that hold the same write ranges of equal length
  NamedTensors replicated;          ///< equal on all ranks, rank 0 writes them: "centre", "adamw.step/<segment>"
  Communicator* holders = nullptr;  ///< the ranks that hold the same as this one; null: all do
};

/// A tensor of a file for other programs, brought together when its turn comes.
struct SideTensor {
  std::string name;
  at::ScalarType type = at::kFloat;
  std::vector<int64_t> shape;
  std::function<at::Tensor(bool wanted)> values;  ///< on the CPU, contiguous, where wanted; may be collective over the ranks that save
};
/// Weights that rank 0 writes beside, for other programs: tensors and metadata, or a text.
struct SideFile {
  std::string file;
  std::vector<SideTensor> tensors;
  std::map<std::string, std::string> metadata;
  std::string text;  ///< not empty: the file's whole content
};
/// A file of more than `limit` bytes of tensors as several and an index, as Hugging Face names and writes them: "a.safetensors" becomes
/// "a-00001-of-00002.safetensors" ... and "a.safetensors.index.json", which carries the metadata too. A smaller one stays as it is.
std::vector<SideFile> in_parts(SideFile file, int64_t limit);

/// Writes `checkpoints/step_00001000` so that it is there completely or not at all: files aside, each with its CRC32C, manifest.json last,
/// everything synced, then the folder renamed. Entries are described by name and range ("adamw.exp_avg/head.mlp.0.weight[0:512]"), so any
/// number of ranks can load them, however the network is sharded: no rank holds more than its own and one tensor of the side files. `facts`
/// go into the manifest (step is added). Collective; an Error on any rank is thrown on all, and nothing half written stays.
std::filesystem::path save_checkpoint(Communicator& comm, const std::filesystem::path& checkpoints, int64_t step,
                                      const CheckpointTensors& tensors, const std::vector<SideFile>& weights, nlohmann::json facts);

/// Fills all tensors after comparing every file's size and CRC32C with the manifest, the ranks sharing the files among them. Every element
/// must be there exactly once, in its type; another world size, other shards and another layout of the same parameters are fine.
/// Collective, Error on all ranks.
void load_checkpoint(Communicator& comm, const std::filesystem::path& checkpoint, const CheckpointTensors& tensors);

}  // namespace dinoxx
