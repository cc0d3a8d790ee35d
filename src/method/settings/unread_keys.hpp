#pragma once
#include <optional>
#include <string>
#include <vector>

#include "config/config_fields.hpp"

namespace dinoxx {

struct Method;

/// Whether `method` reads a key at all: those that are not methods' own are read by each.
bool reads(const Method& method, const Field& field);

/// Why a run with this resolved configuration does not read the key; nothing when it does. "train.method = dino: it is read by byol", "it
/// is read where gram.weight is above 0".
std::optional<std::string> why_unread(const Field& field, const Config& resolved);

struct UnreadKey {
  const Field* field;
  std::string why;  ///< see why_unread
};
/// Keys that `given` sets and the run does not read. Set means: to another value than the table's default, and than what "auto" becomes.
///
/// A configuration that was filled in before (a run's config.cfg) sets every key. There an "auto" that this run does not read has the value
/// that it became in that run, perhaps with other images or another length, and counts as not set.
std::vector<UnreadKey> unread_keys(const Config& given, uint64_t train_images, int cores_per_rank, int world_size);
/// UsageError, naming the first of them. To be asked before resolve_config(), with the same numbers.
void refuse_unread_keys(const Config& given, uint64_t train_images, int cores_per_rank, int world_size);
/// The same for one of them; `whose` stands in front of its name.
[[noreturn]] void refuse(const UnreadKey& key, const Config& given, const std::string& whose = "");

/// UsageError, naming where it was written, for the name of a method or of a view profile that does not exist.
void check_names(const std::vector<Setting>& settings);

}  // namespace dinoxx
