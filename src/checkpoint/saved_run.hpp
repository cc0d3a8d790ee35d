#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "dinoxx/comm/communicator.hpp"
#include "method/settings/at_resume.hpp"

namespace dinoxx {

/// What a checkpoint records of its run beside the tensors.
struct SavedRun {
  std::filesystem::path folder;
  nlohmann::json manifest;
  SavedSettings settings;
  int64_t step = 0;
  uint64_t position = 0;  ///< images seen
  std::string note;       ///< what an older release did not record; empty: nothing is missing
};

/// Reads the manifest alone. Errors as read_manifest; UsageError for a configuration with keys that this version does not know.
SavedRun read_saved_run(const std::filesystem::path& checkpoint);

/// UsageError: the checkpoint is one of another run, by its keys ("KEY was X and is Y").
[[noreturn]] void refuse_other_run(const std::filesystem::path& checkpoint, const std::vector<std::string>& keys);

/// DamagedCheckpoint when size or CRC32C of a file differ from its record in the manifest.
void check_file(const std::filesystem::path& checkpoint, const nlohmann::json& record);
/// What is wrong with the state in a checkpoint folder: file and reason; empty when every byte is as it was written. The ranks share the
/// files among them. Error for a manifest of a newer version. Collective.
std::string damage_of(Communicator& comm, const std::filesystem::path& checkpoint);

}  // namespace dinoxx
