#pragma once
#include <cstdint>
#include <string>

#include "dinoxx/comm/communicator.hpp"
#include "param_layout.hpp"

/// What all ranks must have in common: the start values, and every bit after every step.
namespace dinoxx {

/// Rank 0's parameters everywhere. Collective.
void broadcast_parameters(Communicator& comm, FlatState& state);

/// Error naming step and ranks when the ranks' buffers differ in any bit (64-bit hash, gathered). Collective.
void check_ranks_agree(Communicator& comm, const at::Tensor& flat, const std::string& what, int64_t step);

}  // namespace dinoxx
