// The linear probe with another bound on its memory. Private to the protocol and its tests.
#pragma once
#include "eval/run/protocols.hpp"

namespace dinoxx::eval {

// Features of at most `pool` numbers are held at once, on every rank; more images are learned from in parts, one after another.
ProtocolResult run_linear_probe(const ProtocolInput& input, int64_t pool);

}  // namespace dinoxx::eval
