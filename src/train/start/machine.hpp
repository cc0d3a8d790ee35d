#pragma once
#include "train/training.hpp"

namespace dinoxx {

/// A line about ranks, hosts, GPUs and cores, and one for each thing that will slow or break the run, with what to do: what "dinoxx doctor"
/// sees without measuring. Collective over the job.
void say_machine(const Training& training, const TrainOptions& options, RunLog& log);

}  // namespace dinoxx
