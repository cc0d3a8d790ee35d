#pragma once
#include <set>
#include <string>
#include <vector>

#include "config/config.hpp"

namespace dinoxx {

/// A run that begins with weights (model.init_from) has their network: architecture, style, patch, registers, size of the positions and the
/// facts that no tensor shows follow the file, and crop sizes become multiples of another patch than the configuration's. Keys in `typed`
/// (those of the command line) stay as they are; what then does not fit, the load refuses. A position size that the configuration states
/// stays too: the load resizes the positions. Returns what changed, for the log.
///
/// A run that goes on keeps what it was: `saved`, its resolved configuration, has the values then, and the file is not opened. Null: it
/// begins.
///
/// UsageError: no such file, no network that is known, or none that the keys can state.
std::vector<std::string> follow_weights(Config& config, const std::set<std::string>& typed, const Config* saved = nullptr);

}  // namespace dinoxx
