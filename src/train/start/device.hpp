#pragma once
#include "train/train.hpp"

namespace dinoxx {

/// choose_device() by train.device, over the job: sets options.device, makes the communicators of gradients and statistics for it, and
/// writes into the configuration what "auto" became. Collective over the job.
void choose_train_device(TrainOptions& options, TrainComms& comms, int local_rank);

}  // namespace dinoxx
