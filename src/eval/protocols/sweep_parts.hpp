// The sweep with another bound on its memory. Private to the step and its tests.
#pragma once
#include "eval/run/ladder.hpp"

namespace dinoxx::eval {

// Features of at most `pool` numbers are held at once, on every rank; more images are learned from in parts, one after another.
StepResult run_sweep(const StepInput& input, int64_t pool);

}  // namespace dinoxx::eval
