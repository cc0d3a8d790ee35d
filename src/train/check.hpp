#pragma once
#include "training.hpp"

namespace dinoxx {

/// --check in place of start_or_resume(): the state as the run would have it, from a checkpoint or anew. Collective.
void start_check(Training& training, RunLog& log);
/// Two steps of each resolution; then says how long the run will take, and how much memory. Error for a loss that is not finite.
/// Collective.
ExitCode check_steps(Training& training, Loader& loader, GradientSync& sync, RunLog& log);

}  // namespace dinoxx
