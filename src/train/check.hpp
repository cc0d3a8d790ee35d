#pragma once
#include "training.hpp"

namespace dinoxx {

/// --check in place of start_or_resume(): proves that the run folder can be written to, and leaves nothing behind. Collective.
void start_check(Training& training, const TrainOptions& options);
/// Two steps of each resolution; then says how long the run will take, and how much memory. Error for a loss that is not finite.
/// Collective.
ExitCode check_steps(Training& training, Loader& loader, GradientSync& sync, RunLog& log);

}  // namespace dinoxx
