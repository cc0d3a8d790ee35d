#pragma once
#include "train/training.hpp"

namespace dinoxx {

/// Brings the state to where the run goes on: a checkpoint's, or the start, with weights from elsewhere where the configuration names them.
/// Returns what a resume loses, load_state(). Touches no file. Collective; errors are agreed.
std::vector<std::string> bring_to_beginning(Training& training, RunLog& log);

/// Locks the run folder and brings the state to where the run goes on: a checkpoint's, or the start, with weights from elsewhere where the
/// configuration names them. Then the journal is set back to that step and open, the configuration stored and the start recorded.
/// Collective; errors are agreed, of the folder by all runs of the job.
void start_or_resume(Training& training, const TrainOptions& options, RunHistory& history, RunLog& log);

}  // namespace dinoxx
