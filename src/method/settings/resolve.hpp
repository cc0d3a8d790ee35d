#pragma once
#include <string>
#include <vector>

#include "config/config.hpp"

namespace dinoxx {

/// Puts values for "auto": the method's defaults (methods.hpp), sizes from the architecture, and after lightly-train's scaling of DINO to
/// small sets (reference: dino_family.md 4.2). `notes` gets a line per reason, of keys that this run reads. Then checks what no single
/// field can: UsageError when values do not fit each other, or for the name of a method that does not exist.
Config resolve_config(const Config& config, uint64_t train_images, int cores_per_rank, std::vector<std::string>* notes = nullptr,
                      int world_size = 1);

/// The values alone: nothing is checked but the method's name.
Config resolve_unchecked(const Config& config, uint64_t train_images, int cores_per_rank, int world_size);

/// The configuration of a saved run (resolved, but perhaps before some key was there) with the method's values for what is still "auto".
Config settled(const Config& saved);

}  // namespace dinoxx
