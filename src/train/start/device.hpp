#pragma once
#include <string>

#include "train/train.hpp"

namespace dinoxx {

/// Where the networks of this rank compute, by train.device: a GPU for each rank of a machine, or the CPU. Sets options.device, makes the
/// communicators of gradients and statistics for it, and writes into the configuration what "auto" became. Collective over the job: "auto"
/// is the same on all ranks. Errors: a host without GPUs among others with them; a machine that has GPUs which the program cannot use,
/// unless train.device is cpu; fewer GPUs than ranks of a machine.
void choose_device(TrainOptions& options, TrainComms& comms, int local_rank);

/// "cpu", or this rank's GPU by name, with its memory.
std::string device_line(const TrainOptions& options);

}  // namespace dinoxx
