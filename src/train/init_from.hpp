#pragma once
#include <string>
#include <vector>

#include "dinoxx/step/train_state.hpp"

namespace dinoxx {

/// Student's and teacher's backbones from a file of weights (model.init_from); heads keep their random values. Returns lines for the log.
/// UsageError when the file does not hold the configured network; then nothing is changed.
std::vector<std::string> init_from(const std::string& path, const Config& config, TrainState& state);

}  // namespace dinoxx
