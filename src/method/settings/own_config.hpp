#pragma once
#include <optional>

#include "config/config.hpp"
#include "formats/weight_file.hpp"
#include "model/weights/facts.hpp"

namespace dinoxx {

/// The configuration of the training that wrote a file, as it stands there (settled() gives every key a value); nothing for a file from
/// elsewhere.
std::optional<Config> own_config(const WeightFile& file);

/// What a training's configuration says of its network, for describe_network(): nothing of what the file's metadata say themselves.
std::vector<FactSource> said_by_training(const WeightFile& file);

}  // namespace dinoxx
