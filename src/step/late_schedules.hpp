#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/config.hpp"

namespace dinoxx {

/// A sentence about each schedule of a run, by its resolved configuration, that the run is too short for: what ends, or begins, behind its
/// last step. (A warm-up or decay of the learning rate that is too long is refused.)
std::vector<std::string> late_schedules(const Config& config, uint64_t images);

}  // namespace dinoxx
