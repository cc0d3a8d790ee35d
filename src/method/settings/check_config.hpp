#pragma once
#include "config/config.hpp"

namespace dinoxx {

/// UsageError, naming the key, where values of a resolved configuration do not fit each other, the method or the number of images.
void check_config(const Config& resolved, uint64_t images);

}  // namespace dinoxx
