#pragma once
#include "train/training.hpp"

namespace dinoxx {

/// The first lines on the terminal: what will be trained, at which rate, and what it takes of memory and disk.
void print_start(const Training& training, const TrainOptions& options, RunLog& log);

/// What has to hold for the work not to be lost later: the run folder can be written to and all hosts share it, its file system has room
/// for the checkpoints that are kept, batches fit into memory. UsageError else, agreed by all runs of the job; leaves nothing behind.
/// Collective.
void check_preconditions(const Training& training, const TrainOptions& options);

}  // namespace dinoxx
