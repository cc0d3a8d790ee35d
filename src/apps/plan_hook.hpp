#pragma once
#include <string>

#include "config/config.hpp"

namespace dinoxx {

/// Before a training takes memory of a GPU of so many bytes: UsageError where masters, gradients, moments and averages alone are more, as
/// `shards` of `ranks` ranks share them (1: each has all); a warning where they and the activations are planned to be more; else empty.
/// Both name what would fit on as many GPUs.
std::string room_on_gpu(const Config& resolved, int64_t ranks, int64_t shards, double memory);

}  // namespace dinoxx
