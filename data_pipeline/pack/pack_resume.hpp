#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data_pipeline/format/manifest.hpp"
#include "left_out.hpp"
#include "pack.hpp"
#include "pack_plan.hpp"

// How a second pack of the same input finds what the first one did.
namespace dinoxx::detail {

/// Hash of all that decides the bytes of a data folder: the plan, size and time of its files, and the options. Two packs of one identity
/// give the same folder.
std::string input_identity(const PackPlan& plan, const PackOptions& options);

/// Where a pack stood when its last shard was written.
struct PackState {
  uint64_t done = 0;  ///< images, in the order of packing, that lie in a shard or are bad
  std::vector<BadInput> bad;
  Faulty faulty;
  Manifest manifest;  ///< of the shards that are there
};
/// Into the folder in which the shards are made, atomically.
void save_state(const std::filesystem::path& partial, const std::string& identity, const PackState& state);
/// The state of a pack of this identity whose shards are all there. None otherwise.
std::optional<PackState> load_state(const std::filesystem::path& partial, const std::string& identity);

/// Hashes of the pixels of all images of the plan, which took a pass over them.
void save_contents(const std::filesystem::path& partial, const std::string& identity, const std::vector<ContentId>& contents);
/// Empty when they are not there.
std::vector<ContentId> load_contents(const std::filesystem::path& partial, const std::string& identity, size_t images);

/// Takes away what the finished folder does not hold.
void remove_state(const std::filesystem::path& partial);
/// Takes away what another pack, or a pack of the same input after its last shard, has left in the folder.
void remove_leftovers(const std::filesystem::path& partial, const std::optional<PackState>& state);

}  // namespace dinoxx::detail
